"""One PostgreSQL per test run, and on it a fresh database for each test that asks for one."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import psycopg
from psycopg import sql
from psycopg.errors import ObjectInUse

from controlplane import embedded
from controlplane.store.logins import (
    Login,
    Logins,
    create_database,
    create_logins,
    grant_logins,
    harden_database,
)

DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
VERSIONS = {"18": None, "16": None, "15": DEBIAN_15}
_TEMPLATE = "cp_template"
_SCRAM_ITERATIONS_SINCE = 16
# Any number; the workers of one run agree on it.
_LOCK = 4201


@dataclass(frozen=True)
class Server:
    """The run's PostgreSQL; every URL is libpq's form."""

    version: int
    superuser_url: str = field(repr=False)
    logins: Logins

    def packed(self) -> tuple[int, str, list[str]]:
        """What travels to another process of the run."""
        logins = (self.logins.owner, self.logins.control, self.logins.app)
        return self.version, self.superuser_url, [login.password for login in logins]

    @classmethod
    def unpacked(cls, packed: tuple[int, str, list[str]]) -> "Server":
        version, url, passwords = packed
        names = ("cp_owner", "cp_control", "cp_app")
        return cls(version, url, Logins(*map(Login, names, passwords)))


@dataclass(frozen=True)
class Database:
    """A migrated database of its own installation; every URL is libpq's form."""

    name: str
    superuser_url: str = field(repr=False)
    owner_url: str = field(repr=False)
    control_url: str = field(repr=False)
    app_url: str = field(repr=False)
    installation: UUID


@contextlib.contextmanager
def running_server(version: str) -> Iterator[Server]:
    """A throw-away server of PostgreSQL 18, 16 or Debian's 15."""
    with embedded.throwaway(int(version), binaries=VERSIONS[version]) as running:
        if running.version >= _SCRAM_ITERATIONS_SINCE:
            _ask_less_of_passwords(running.superuser_url)
        yield Server(int(version), running.superuser_url, Logins.named("cp"))


def _ask_less_of_passwords(superuser_url: str) -> None:
    """Tests connect tens of thousands of times, and half of that time goes into hashing."""
    with psycopg.connect(superuser_url, autocommit=True) as conn:
        conn.execute("ALTER SYSTEM SET scram_iterations = 1")
        conn.execute("SELECT pg_reload_conf()")
        conn.execute("SET scram_iterations = 1")
        password = sql.Literal(urlsplit(superuser_url).password)
        conn.execute(sql.SQL("ALTER ROLE CURRENT_USER PASSWORD {}").format(password))


@contextlib.contextmanager
def fresh_database(server: Server) -> Iterator[Database]:
    """A copy of the migrated template with an installation id of its own.

    Afterwards it is gone, together with the roles that carry the mark of that installation.
    """
    _ensure_template(server)
    database = _copy(server, f"test_{uuid4().hex}")
    try:
        yield database
    finally:
        _remove(server, database)


def _ensure_template(server: Server) -> None:
    """Made aside and renamed, so that whoever sees it sees it whole."""
    with psycopg.connect(server.superuser_url, autocommit=True) as conn:
        if _exists(conn, _TEMPLATE):
            return
        conn.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        if not _exists(conn, _TEMPLATE):
            draft = f"{_TEMPLATE}_draft"
            conn.execute(_statement("DROP DATABASE IF EXISTS {} WITH (FORCE)", draft))
            _prepare(server, draft)
            conn.execute(_statement("ALTER DATABASE {} RENAME TO {}", draft, _TEMPLATE))


def _prepare(server: Server, name: str) -> None:
    from controlplane.store import migrate  # noqa: PLC0415  alembic is slow, few workers need it

    create_logins(server.superuser_url, server.logins)
    create_database(server.superuser_url, name, server.logins)
    owner_url = server.logins.owner.url(server.superuser_url, database=name)
    migrate.upgrade_public(owner_url)
    grant_logins(owner_url, control=server.logins.control.name, app=server.logins.app.name)


def _copy(server: Server, name: str) -> Database:
    owner = server.logins.owner
    with psycopg.connect(server.superuser_url, autocommit=True) as conn:
        # Measured: as fast as wal_log on an idle machine, faster on a busy one and to drop.
        copy = "CREATE DATABASE {} OWNER {} TEMPLATE {} STRATEGY file_copy"
        conn.execute(_statement(copy, name, owner.name, _TEMPLATE))
    harden_database(server.superuser_url, name, server.logins)
    superuser_url = urlunsplit(urlsplit(server.superuser_url)._replace(path=f"/{name}"))
    with psycopg.connect(superuser_url) as conn:
        row = conn.execute(
            "UPDATE public.installation SET id = gen_random_uuid() RETURNING id"
        ).fetchone()
    assert row is not None
    return Database(
        name=name,
        superuser_url=superuser_url,
        owner_url=owner.url(superuser_url),
        control_url=server.logins.control.url(superuser_url),
        app_url=server.logins.app.url(superuser_url),
        installation=row[0],
    )


def _remove(server: Server, database: Database) -> None:
    with psycopg.connect(server.superuser_url, autocommit=True) as conn:
        _drop(conn, database.name)
        ours = conn.execute(
            "SELECT rolname FROM pg_roles WHERE rolname ~ '^tenant_[0-9a-f]{32}$'"
            " AND starts_with(shobj_description(oid, 'pg_authid'), %s)",
            [f"controlplane/{database.installation}/"],
        ).fetchall()
        for (role,) in ours:
            conn.execute(_statement("DROP ROLE {}", role))


def _drop(conn: psycopg.Connection, name: str) -> None:
    """On a busy machine, sessions that were ended may be there for longer than PostgreSQL waits."""
    while True:
        with contextlib.suppress(ObjectInUse):
            conn.execute(_statement("DROP DATABASE {} WITH (FORCE)", name))
            return


def _exists(conn: psycopg.Connection, name: str) -> bool:
    found = conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
    return found.fetchone() is not None


def _statement(template: str, *names: str) -> sql.Composed:
    return sql.SQL(template).format(*map(sql.Identifier, names))
