"""Each layer of the isolation is switched off, and the next one holds."""

from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import CheckViolation, InsufficientPrivilege, UndefinedTable

from controlplane.testing import marker
from tests.security.tables import documented, printed

pytestmark = pytest.mark.database_near

READ = "SELECT name FROM roles WHERE name LIKE 'marker-%'"
READ_OTHER = "SELECT name FROM {globex}.roles WHERE name LIKE 'marker-%'"
WRITE_OTHER = "INSERT INTO roles (name, tenant_id) VALUES ('x', {globex_id})"
RIGHTS = "GRANT USAGE ON SCHEMA {globex} TO {acme}; GRANT SELECT ON {globex}.roles TO {acme}"
TAKEN = "REVOKE USAGE ON SCHEMA {globex} FROM {acme}; REVOKE SELECT ON {globex}.roles FROM {acme}"
LOGINS_RIGHTS = "GRANT USAGE ON SCHEMA {globex} TO {app}; GRANT SELECT ON {globex}.roles TO {app}"
LOGINS_TAKEN = (
    "REVOKE USAGE ON SCHEMA {globex} FROM {app}; REVOKE SELECT ON {globex}.roles FROM {app}"
)
OPEN = "ALTER TABLE {globex}.roles DISABLE ROW LEVEL SECURITY"
SHUT = "ALTER TABLE {globex}.roles ENABLE ROW LEVEL SECURITY"


@dataclass(frozen=True)
class Case:
    """A transaction of Acme's in which something is amiss. `path`, `role` and `id` say whose they
    are, None that they were not set; `before` and `after` are run by a superuser."""

    off: str
    tried: str
    query: str
    held_by: str
    path: str | None = "acme"
    role: str | None = "acme"
    id: str | None = "acme"
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


CASES = (
    Case("nothing", "its own table", READ, "—"),
    Case("nothing", "Globex's table by name", READ_OTHER, "rights"),
    Case(
        "search path: not set",
        "a table",
        READ,
        "the role, which bears its schema's name",
        path=None,
    ),
    Case("search path: Globex's", "a table", READ, "rights", path="globex"),
    Case(
        *("search path: Globex's; rights: too many", "a table", READ, "row security"),
        path="globex",
        before=(RIGHTS,),
        after=(TAKEN,),
    ),
    Case(
        *("search path: Globex's; row security: off", "a table", READ, "rights"),
        path="globex",
        before=(OPEN,),
        after=(SHUT,),
    ),
    Case("role: not taken", "its own table", READ, "the login's lack of rights", role=None),
    Case(
        *("role: not taken", "Globex's table by name", READ_OTHER, "the login's lack of rights"),
        role=None,
    ),
    Case(
        *("role: not taken; the login has rights", "Globex's table by name", READ_OTHER),
        "row security",
        role=None,
        before=(LOGINS_RIGHTS,),
        after=(LOGINS_TAKEN,),
    ),
    Case("role: Globex's", "a table", READ, "rights", role="globex"),
    Case("role: Globex's", "Globex's table by name", READ_OTHER, "row security", role="globex"),
    Case(
        *("rights: too many", "Globex's table by name", READ_OTHER, "row security"),
        before=(RIGHTS,),
        after=(TAKEN,),
    ),
    Case(
        *("row security: off", "Globex's table by name", READ_OTHER, "rights"),
        before=(OPEN,),
        after=(SHUT,),
    ),
    Case(
        *("row security: off; rights: too many", "a table", READ, "search path"),
        before=(RIGHTS, OPEN),
        after=(TAKEN, SHUT),
    ),
    Case("tenant's id: not set", "its own table", READ, "row security", id=None),
    Case("tenant's id: Globex's", "its own table", READ, "row security", id="globex"),
    Case("tenant's id: Globex's", "Globex's table by name", READ_OTHER, "rights", id="globex"),
    Case(
        *("tenant's id: Globex's", "a row of Globex's in its own table", WRITE_OTHER),
        "the table's CHECK",
        id="globex",
    ),
    Case(
        *("tenant's id, path and role: Globex's", "a table", READ),
        "nothing: this is Globex's transaction",
        path="globex",
        role="globex",
        id="globex",
    ),
)


def test_the_layer_behind_each_one_that_is_off_holds(place, two):
    rows = [(case.off, case.tried, _outcome(case, place, two), case.held_by) for case in CASES]
    print(printed(rows))  # noqa: T201  to be copied where it is to change
    assert rows == documented("Switched off or wrong")


def _outcome(case: Case, place: Any, two: Any) -> str:
    names = _names(place, two)
    with psycopg.connect(two.superuser_url, autocommit=True) as superuser:
        for text in case.before:
            superuser.execute(sql.SQL(text).format(**names))
        try:
            with psycopg.connect(two.app_url) as conn:
                return _seen(conn, case, names, two)
        finally:
            for text in case.after:
                superuser.execute(sql.SQL(text).format(**names))


def _names(place: Any, two: Any) -> dict[str, sql.Composable]:
    acme, globex = two.tenants
    return {
        "acme": sql.Identifier(acme.schema),
        "globex": sql.Identifier(globex.schema),
        "acme_id": sql.Literal(str(acme.id)),
        "globex_id": sql.Literal(str(globex.id)),
        "app": sql.Identifier(place.app_login),
    }


def _seen(conn: Any, case: Case, names: dict[str, sql.Composable], two: Any) -> str:
    for what, whose in [
        ("search_path TO {}, pg_temp", case.path),
        ("app.current_tenant_id TO {}", case.id and f"{case.id}_id"),
        ("ROLE {}", case.role),
    ]:
        if whose:
            conn.execute(sql.SQL(f"SET LOCAL {what}").format(names[whose]))
    try:
        rows = conn.execute(sql.SQL(case.query).format(**names)).fetchall()
    except InsufficientPrivilege:
        return "denied"
    except UndefinedTable:
        return "no such table"
    except CheckViolation:
        return "refused"
    acme, globex = ((marker(tenant),) for tenant in two.tenants)
    assert set(rows) <= {acme, globex}
    return {(): "no rows", (acme,): "its own rows", (globex,): "**Globex's rows**"}[tuple(rows)]
