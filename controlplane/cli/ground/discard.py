"""Taking a demo's database off a server that somebody else runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from controlplane.cli.ground.database import at_database, kept_logins
from controlplane.cli.ground.folder import Folder
from controlplane.cli.output import tell
from controlplane.store.logins import drop_logins

_OURS = "SELECT 1 FROM pg_database WHERE datname = %s AND pg_get_userbyid(datdba) = %s"
_TENANT_ROLES = (
    "SELECT rolname FROM pg_roles WHERE starts_with(shobj_description(oid, 'pg_authid'), %s)"
)


@contextmanager
def discarded(admin_url: str, path: Path) -> Iterator[None]:
    """Discard in the end. If something has failed by then, that is what is raised, though
    discarding fails too. Raises psycopg's errors where discarding is all that fails."""
    try:
        yield
    except BaseException:
        try:
            discard(admin_url, path)
        except psycopg.Error as error:
            tell(f"What it made stays on the server: {str(error).strip().splitlines()[0]}")
        raise
    discard(admin_url, path)


def discard(admin_url: str, path: Path) -> None:
    """Drop the folder's database, its tenants' roles and its logins: what bears our mark, no more.

    Each of them may be missing: whoever made them may have been stopped anywhere.
    """
    kept = kept_logins(Folder(path.absolute()))
    if kept is None:
        return
    name, logins = kept
    with psycopg.connect(admin_url, autocommit=True) as conn:
        if conn.execute(_OURS, [name, logins.owner.name]).fetchone():
            _drop_database(conn, admin_url, name)
        drop_logins(conn, logins)


def _drop_database(conn: psycopg.Connection, admin_url: str, name: str) -> None:
    found = _tenant_roles(at_database(admin_url, name))
    conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
    for role in found:
        conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def _tenant_roles(url: str) -> list[str]:
    with psycopg.connect(url) as conn:
        try:
            row = conn.execute("SELECT id FROM public.installation").fetchone()
        except psycopg.errors.UndefinedTable:
            return []  # before the first migration there was no tenant
        assert row is not None, "BUG: the first migration names the installation"  # noqa: S101
        found = conn.execute(_TENANT_ROLES, [f"controlplane/{row[0]}/"]).fetchall()
    return [role for (role,) in found]
