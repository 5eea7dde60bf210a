import subprocess
import sys

_PROGRAM = """
import sys
import controlplane.routing
heavy = {"sqlalchemy", "litestar", "alembic", "structlog", "pydantic", "msgspec", "psycopg_pool",
         "redis"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
own = {name for name in sys.modules if name.startswith("controlplane")}
print(sorted({".".join(name.split(".")[:2]) for name in own}))
"""


def test_importing_the_routing_layer_pulls_in_no_framework_and_no_admin_code():
    answer = subprocess.run(  # noqa: S603  our own interpreter and program
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True
    )
    assert answer.stdout.splitlines() == [
        "[]",
        "['controlplane', 'controlplane.domain', 'controlplane.errors', 'controlplane.routing']",
    ]
