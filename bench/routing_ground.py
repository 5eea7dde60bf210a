"""The ground of the routing benchmark: many small tenants in one PostgreSQL, reached by a Unix
socket and by a link with delay, and the peers that are compared."""

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from controlplane import embedded
from controlplane.domain.naming import schema_name
from controlplane.domain.tenants import TenantState
from controlplane.routing import RoutedTenant

_REGISTRY = """
    CREATE ROLE app LOGIN NOINHERIT PASSWORD 'bench';
    CREATE ROLE pinned LOGIN INHERIT PASSWORD 'bench';
    CREATE TABLE tenants (id uuid PRIMARY KEY, subdomain text UNIQUE, name text, state text,
        tier text, revision text);
    CREATE VIEW tenant_registry AS SELECT * FROM tenants;
    CREATE TABLE tenant_changes (changed_in bigint, subdomain text);
    CREATE VIEW tenant_registry_changes AS SELECT * FROM tenant_changes;
    GRANT SELECT ON tenant_registry, tenant_registry_changes TO app;
"""
_TENANT = """
    CREATE ROLE {name} NOLOGIN; GRANT {name} TO app; GRANT {name} TO pinned;
    CREATE SCHEMA {name}; GRANT USAGE ON SCHEMA {name} TO {name};
    CREATE TABLE {name}.users (id int PRIMARY KEY, name text NOT NULL);
    CREATE TABLE {name}.audit (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), what text NOT NULL);
    INSERT INTO {name}.users SELECT n, 'user ' || n FROM generate_series(1, 100) n;
    GRANT SELECT, INSERT ON {name}.users, {name}.audit TO {name};
    INSERT INTO tenants VALUES ({id}, {label}, {label}, 'active', 'starter', 'abc');
"""
_DJANGO = Path(__file__).with_name("django_peer.py")


@dataclass(frozen=True)
class Ground:
    """`unix` and `tcp` are the superuser's conninfos of the same server."""

    unix: str = field(repr=False)
    tcp: str = field(repr=False)
    tenants: tuple[RoutedTenant, ...]


def login(conninfo: str, user: str) -> str:
    return make_conninfo(conninfo, user=user, password="bench")  # noqa: S106  a throw-away server


@contextlib.contextmanager
def ground(tenants: int) -> Iterator[Ground]:
    """A durable server of its own, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="controlplane-bench-") as folder:
        # PostgreSQL's user must get through, and put its socket there.
        Path(folder).chmod(0o777)
        embedded._SETTINGS["unix_socket_directories"] = folder  # noqa: SLF001  tests need none
        server = embedded.start(Path(folder, "postgres"))
        try:
            made = tuple(_tenant(number) for number in range(tenants))
            _create(server.superuser_url, made)
            tcp = make_conninfo(server.superuser_url)
            yield Ground(make_conninfo(tcp, host=folder), tcp, made)
        finally:
            embedded.stop(server)


def _tenant(number: int) -> RoutedTenant:
    label = f"t{number:05}"
    return RoutedTenant(uuid4(), label, label, TenantState.ACTIVE, "starter", "abc")


def _create(url: str, tenants: tuple[RoutedTenant, ...]) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(_REGISTRY)
        for tenant in tenants:
            conn.execute(
                sql.SQL(_TENANT).format(
                    name=sql.Identifier(tenant.schema),
                    id=sql.Literal(str(tenant.id)),
                    label=sql.Literal(tenant.subdomain),
                )
            )
        conn.execute(_pinned(tenants[0].id))
        conn.execute("VACUUM ANALYZE")


def _pinned(tenant_id: UUID) -> sql.Composed:
    schema = sql.Identifier(schema_name(tenant_id))
    return sql.SQL("ALTER ROLE pinned SET search_path TO {}, pg_temp").format(schema)


@contextlib.contextmanager
def delayed(conninfo: str, delay_ms: float) -> Iterator[str]:
    """The same server behind a link that delays each direction."""
    server = conninfo_to_dict(conninfo)
    command = [Path(__file__).with_name("delay.py"), server["host"], server["port"], delay_ms]
    with subprocess.Popen(  # noqa: S603  our own interpreter and program
        [sys.executable, *map(str, command)], stdout=subprocess.PIPE, text=True
    ) as link:
        try:
            port = (link.stdout or sys.stdin).readline().strip()
            yield make_conninfo(conninfo, host="127.0.0.1", port=port)
        finally:
            link.terminate()


class DjangoPeer:
    """django-tenants in a process and a virtual environment of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    async def durations(self, count: int) -> list[float]:
        return await asyncio.to_thread(self._durations, count)

    def _durations(self, count: int) -> list[float]:
        found: list[float] = json.loads(self._say(f"{count}\n"))
        return found

    def _say(self, line: str) -> str:
        if self._process.stdin is None or self._process.stdout is None:
            raise SystemExit("the peer has no pipes")
        self._process.stdin.write(line)
        self._process.stdin.flush()
        return self._process.stdout.readline()


@contextlib.contextmanager
def django_python(wanted: bool) -> Iterator[Path | None]:  # noqa: FBT001  a flag of the command
    """A throw-away virtual environment with django-tenants; None where it does not install."""
    if not wanted:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="controlplane-bench-django-") as folder:
        python = Path(folder, "bin", "python")
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        steps = (
            [sys.executable, "-m", "venv", folder],
            [*pip, "django-tenants", "psycopg[binary]"],
        )
        installed = all(subprocess.run(step, check=False).returncode == 0 for step in steps)  # noqa: S603
        yield python if installed else None


@contextlib.contextmanager
def django(python: Path, conninfo: str, tenants: tuple[RoutedTenant, ...]) -> Iterator[DjangoPeer]:
    where = conninfo_to_dict(login(conninfo, "pinned"))
    connection = {
        "NAME": where["dbname"],
        "USER": where["user"],
        "PASSWORD": where["password"],
        "HOST": where["host"],
        "PORT": where["port"],
    }
    job = {"connection": connection, "schemas": [tenant.schema for tenant in tenants]}
    with subprocess.Popen(  # noqa: S603
        [str(python), str(_DJANGO)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            if process.stdin is not None:
                process.stdin.write(json.dumps(job) + "\n")
            yield DjangoPeer(process)
        finally:
            process.terminate()
