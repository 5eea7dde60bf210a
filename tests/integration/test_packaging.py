"""What an installation holds, however it was made, and what the lock files promise."""

import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
SITE_PACKAGES = sysconfig.get_path("purelib")
LOCKS = [ROOT / "requirements" / name for name in ("server.txt", "dev.txt")]

FINDS_ITSELF = """
import sys
from pathlib import Path
import controlplane, controlplane_dns, controlplane_emails
import dns.resolver
from controlplane import assets
print(*(Path(module.__file__).parent for module in (controlplane, controlplane_dns,
    controlplane_emails, dns)), sep="\\n")
migrations, template = assets.folder("migrations"), assets.folder("tenant_template")
print(migrations, template, sep="\\n")
assert any((migrations / "public" / "versions").glob("*.py"))
assert any((migrations / "tenant" / "versions").glob("*.py"))
assert any((template / "versions").glob("*.py"))
assert (assets.folder("examples") / "app_server" / "litestar_app.py").is_file()
"""


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(  # noqa: S603  our own interpreter
        [sys.executable, *command],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(target: str, source: Path, place: Path) -> Path:
    run("-m", "hatchling", "build", "-t", target, "-d", place, cwd=source)
    (built,) = place.glob("*.whl" if target == "wheel" else "*.tar.gz")
    return built


def install(wheel: Path, place: Path) -> Path:
    pip = ("-m", "pip", "--disable-pip-version-check", "--no-cache-dir", "install")
    run(*pip, "--no-deps", "--no-index", "--target", place, wheel, cwd=place.parent)
    return place


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_an_installed_wheel_finds_its_packages_and_assets(wheel: Path, tmp_path: Path) -> None:
    place = install(wheel, tmp_path / "installed")
    found = run("-c", FINDS_ITSELF, cwd=tmp_path, PYTHONPATH=str(place)).split()
    assert found == [
        f"{place}/controlplane",
        f"{place}/controlplane_dns",
        f"{place}/controlplane_emails",
        f"{SITE_PACKAGES}/dns",
        f"{place}/controlplane/_assets/migrations",
        f"{place}/controlplane/_assets/tenant_template",
    ]


def test_an_editable_installation_finds_the_checkout(tmp_path: Path) -> None:
    code = "import sys; from hatchling import build; print(build.build_editable(sys.argv[1]))"
    built = tmp_path / run("-c", code, tmp_path, cwd=ROOT).split()[-1]
    place = install(built, tmp_path / "installed")
    # -S: only the folders added here, so not the environment's own editable installation.
    path = f"import site, sys; site.addsitedir('{place}'); sys.path.append('{SITE_PACKAGES}')"
    found = run("-I", "-S", "-c", path + FINDS_ITSELF, cwd=tmp_path).split()
    assert found == [
        f"{ROOT}/controlplane",
        f"{ROOT}/dns/controlplane_dns",
        f"{ROOT}/emails/controlplane_emails",
        f"{SITE_PACKAGES}/dns",
        f"{ROOT}/migrations",
        f"{ROOT}/tenant_template",
    ]


def test_the_sdist_builds_the_same_wheel(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    again = build("wheel", source, tmp_path / "dist")
    assert contents(again) == contents(wheel)


def test_the_wheel_holds_nothing_but_the_product(wheel: Path) -> None:
    names = contents(wheel)
    assert {name.split("/")[0] for name in names} == {
        "controlplane",
        "controlplane_dns",
        "controlplane_emails",
        "controlplane-0.1.0.dist-info",
    }
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    assert "controlplane/py.typed" in names
    assert "controlplane-0.1.0.dist-info/licenses/LICENSE" in names


def test_an_app_server_needs_psycopg_alone(wheel: Path) -> None:
    metadata = Parser().parsestr(contents(wheel)["controlplane-0.1.0.dist-info/METADATA"].decode())
    needs = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
    assert [need.name for need in needs if need.marker is None] == ["psycopg"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_file_names_no_address_and_hashes_everything(lock: Path) -> None:
    text = lock.read_text()
    assert not re.search(
        r"(?m)://|^\s*-|@ |/(home|root|tmp|opt)/", re.sub(r"    --hash=\S+", "", text)
    )
    pins = re.findall(r"^[a-z0-9].*?(?=^[a-z0-9]|\Z)", text, re.MULTILINE | re.DOTALL)
    assert len(pins) > 40
    assert [pin for pin in pins if "==" not in pin or "--hash=sha256:" not in pin] == []


def test_the_lock_files_hold_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    served = project["dependencies"] + extras["server"] + extras["embedded"]
    for lock, needs in zip(LOCKS, (served, served + extras["dev"]), strict=True):
        pins = dict(re.findall(r"^([a-z0-9-]+)(?:\[.*?\])?==(\S+)", lock.read_text(), re.MULTILINE))
        unmet = [
            need
            for need in map(Requirement, needs)
            if not need.specifier.contains(pins.get(need.name, "0"), prereleases=True)
            or need.name not in pins
        ]
        assert unmet == [], "run scripts/lock"
