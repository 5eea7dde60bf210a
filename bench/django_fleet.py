"""What django-tenants takes for one column and one index of every tenant: `migrate_schemas` with its
parallel executor and two processes, from the start of the command to its end."""

import json
import subprocess
import tempfile
from pathlib import Path
from time import perf_counter

from psycopg.conninfo import conninfo_to_dict
from routing_ground import django_python

from controlplane import settings

_PROGRAM = Path(__file__).with_name("django_fleet_peer.py")
_SHARED = """
from django.db import models
from django_tenants.models import DomainMixin, TenantMixin


class PeerTenant(TenantMixin):
    name = models.TextField()
    auto_create_schema = False


class PeerDomain(DomainMixin):
    pass
"""
_MODEL = """
from django.db import models


class Document(models.Model):
    tenant_id = models.UUIDField()
    client_id = models.UUIDField(null=True)
    name = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "documents"
"""
# An index by itself: of a text column's own, Django makes two.
_REMARK = """        indexes = [models.Index(fields=["remark"], name="ix_documents_remark")]

    remark = models.TextField(null=True)
"""


def per_s(owner_url: str, tenants: int) -> float | None:
    """Tenants a second; None where django-tenants does not install."""
    with django_python(True) as python, tempfile.TemporaryDirectory() as folder:  # noqa: FBT003  it is wanted
        if python is None:
            return None
        for app, model in {"peer_shared": _SHARED, "peer_documents": _MODEL}.items():
            _package(Path(folder, app), model)
        run = _runner(python, Path(folder), owner_url)
        run("makemigrations", "peer_shared", "peer_documents", "--verbosity=0")
        run("make", str(tenants))
        Path(folder, "peer_documents", "models.py").write_text(_MODEL + _REMARK)
        run("makemigrations", "peer_documents", "--verbosity=0")
        begun = perf_counter()
        run("migrate_schemas", "--tenant", "--executor=multiprocessing", "--verbosity=0")
        return tenants / (perf_counter() - begun)


def figures(owner_url: str, tenants: int, *, ours: float) -> dict[str, float]:
    """Its rate, and by how much ours is higher; nothing where it does not install."""
    rate = per_s(owner_url, tenants)
    return {} if rate is None else {"django_per_s": rate, "vs_django_tenants": ours / rate}


def table(found: dict[str, float]) -> list[tuple[str, str, str]]:
    if "django_per_s" not in found:
        return []
    times = f"two: {found['vs_django_tenants']:.1f} times"
    return [("django-tenants, two processes", f"{found['django_per_s']:.1f} tenants/s", times)]


def _package(folder: Path, models: str) -> None:
    (folder / "migrations").mkdir(parents=True)
    for place in (folder, folder / "migrations"):
        (place / "__init__.py").touch()
    (folder / "models.py").write_text(models)


def _runner(python: Path, folder: Path, owner_url: str) -> "Run":
    where = conninfo_to_dict(owner_url)
    names = {
        "NAME": "dbname",
        "USER": "user",
        "PASSWORD": "password",
        "HOST": "host",
        "PORT": "port",
    }
    connection = {name: where.get(key, "") for name, key in names.items()}
    environment = settings.child_environment(
        {"PEER_CONNECTION": json.dumps(connection), "PYTHONPATH": str(folder)}
    )
    return Run(python, environment)


class Run:
    """Runs a command of the project; raises CalledProcessError."""

    def __init__(self, python: Path, environment: dict[str, str]) -> None:
        self._python, self._environment = python, environment

    def __call__(self, *arguments: str) -> None:
        command = [str(self._python), str(_PROGRAM), *arguments]
        subprocess.run(command, check=True, env=self._environment)  # noqa: S603  our own program
