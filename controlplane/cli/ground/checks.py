"""What `demo` looks at, in the database and on disk, before it says that all went well."""

from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import psycopg

from controlplane.cli.exits import CommandFailed
from controlplane.cli.output import print_table

_SCHEMAS = "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, 'tenant_') ORDER BY 1"
_ROLES = (
    "SELECT rolname FROM pg_roles WHERE starts_with(rolname, 'tenant_')"
    " AND starts_with(shobj_description(oid, 'pg_authid'), %s) ORDER BY 1"
)
_ANY = (
    "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = %(name)s)"
    " OR EXISTS (SELECT FROM pg_roles WHERE rolname = %(name)s)"
)
_UNPROTECTED = (
    "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE starts_with(n.nspname, 'tenant_') AND c.relkind IN ('r', 'p')"
    " AND NOT (c.relrowsecurity AND c.relforcerowsecurity)"
)


@dataclass
class Checks:
    """Collects what was looked at; `conclude` prints it and raises CommandFailed."""

    _rows: list[tuple[str, str]] = field(default_factory=list)
    _wrong: list[str] = field(default_factory=list)

    def equal(self, what: str, found: object, wanted: object) -> None:
        self._rows.append((what, "yes" if found == wanted else "no"))
        if found != wanted:
            self._wrong.append(f"{what}: found {found!r} instead of {wanted!r}")

    def holds(self, what: str, found: object) -> None:
        self.equal(what, bool(found), wanted=True)

    def conclude(self) -> None:
        print_table(("CHECKED", "HOLDS"), self._rows)
        if self._wrong:
            raise CommandFailed("\n  ".join(["The demo did not end as it must.", *self._wrong]))


async def in_database(
    checks: Checks, superuser: str, *, installation: UUID, wanted: list[str], absent: str
) -> None:
    """`wanted` are the names that schemas and roles must have; `absent` is one that none may."""
    async with await psycopg.AsyncConnection.connect(superuser) as conn:
        schemas = await (await conn.execute(_SCHEMAS)).fetchall()
        roles = await (await conn.execute(_ROLES, [f"controlplane/{installation}/"])).fetchall()
        leftover = await (await conn.execute(_ANY, {"name": absent})).fetchone()
        unprotected = await (await conn.execute(_UNPROTECTED)).fetchone()
    checks.equal("exactly two tenant schemas", [name for (name,) in schemas], sorted(wanted))
    checks.equal("exactly two tenant roles", [name for (name,) in roles], sorted(wanted))
    checks.equal("no schema and no role of the third", leftover, (False,))
    checks.equal("row-level security forced on every tenant table", unprotected, (0,))


def on_disk(checks: Checks, *, zone: Path, outbox: Path, hosts: list[str], absent: str) -> None:
    """`hosts` are the names that records must have; `absent` may stand nowhere."""
    text = zone.read_text(encoding="latin-1")
    ours = [line.split()[0] for line in text.splitlines() if "; controlplane/" in line]
    mails = [mail.read_text(encoding="utf-8") for mail in outbox.glob("*.eml")]
    checks.equal("exactly two records of ours in the zone", sorted(ours), sorted(hosts))
    checks.equal("exactly two mails in the outbox", len(mails), 2)
    checks.holds(f"nothing of {absent} in zone or outbox", absent not in "".join([text, *mails]))
