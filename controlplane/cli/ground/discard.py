"""Taking a demo's database off a server that somebody else runs."""

from pathlib import Path

import psycopg
from psycopg import sql

from controlplane.cli.ground.database import at_database, kept_logins
from controlplane.cli.ground.folder import Folder

_TENANT_ROLES = (
    "SELECT rolname FROM pg_roles WHERE starts_with(shobj_description(oid, 'pg_authid'), %s)"
)


def discard(admin_url: str, path: Path) -> None:
    """Drop the folder's database, its tenants' roles and its logins: what bears our mark, no more.

    Nothing happens where there is no such database yet.
    """
    kept = kept_logins(Folder(path.absolute()))
    if kept is None:
        return
    name, logins = kept
    with psycopg.connect(at_database(admin_url, name)) as conn:
        row = conn.execute("SELECT id FROM public.installation").fetchone()
    assert row is not None, "BUG: the first migration names the installation"  # noqa: S101
    with psycopg.connect(admin_url, autocommit=True) as conn:
        found = conn.execute(_TENANT_ROLES, [f"controlplane/{row[0]}/"]).fetchall()
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        ours = [logins.app.name, logins.control.name, logins.owner.name]
        for role in [*(role for (role,) in found), *ours]:
            conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
