"""The lines of docs/how-to/test-isolation.md, run as an application's own tests."""

import re
import subprocess
import sys
from pathlib import Path

GUIDE = Path(__file__).parents[3] / "docs" / "how-to" / "test-isolation.md"
FILES = ("shop.py", "conftest.py", "test_isolation.py")


def _run(folder, server_url, change=lambda text: text):
    blocks = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    for name, block in zip(FILES, blocks, strict=True):
        (folder / name).write_text(change(block))
    # The run's own server: to start another one takes longer than all the rest.
    with (folder / "conftest.py").open("a") as conftest:
        conftest.write(
            "\n\n@pytest.fixture(scope='session')\n"
            f"def controlplane_superuser_url():\n    return {server_url!r}\n"
        )
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "-c", "x.ini"]
    (folder / "x.ini").write_text("[pytest]\npythonpath = .\nfilterwarnings = error\n")
    return subprocess.run(  # noqa: S603  the guide's own lines
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=170
    )


def test_an_application_proves_its_isolation_with_the_guides_lines(tmp_path, server):
    ran = _run(tmp_path, server.superuser_url)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    lines = [line for line in ran.stdout.splitlines() if line.startswith("leaks ")]
    assert re.search(
        r"leaks directly: 500 requests of 2 tenants, \d+ answered, \d+ disturbed, 0 failed,"
        r" 0 wrong rows, \d+ checkouts, 0 wrong, 0 wrong scopes, [\d.]+ s",
        lines[0],
    )
    assert "through PgBouncer" in lines[1]


def test_an_application_that_takes_no_tenants_transaction_is_caught_by_them(tmp_path, server):
    def careless(text: str) -> str:
        return text.replace(
            "self._tenancy.transaction() as conn", "first(self._tenancy) as conn"
        ).replace(
            "class Notes:",
            "FIRST = []\n\n\ndef first(tenancy):\n"
            "    from controlplane.routing import current_tenant\n"
            "    from controlplane.routing.tenant import _current\n"
            "    FIRST.append(current_tenant())\n"
            "    _current.set(FIRST[0])\n"
            "    return tenancy.transaction(FIRST[0])\n\n\nclass Notes:",
        )

    ran = _run(tmp_path, server.superuser_url, careless)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "was shown another tenant's row" in ran.stdout
