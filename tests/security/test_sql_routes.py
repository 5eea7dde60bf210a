"""What SQL of an attacker's own choosing reaches from inside a tenant's transaction."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from controlplane.routing import SyncTenancy
from controlplane.testing import marker
from tests.security.tables import documented, printed

pytestmark = pytest.mark.database_near

READ = "SELECT string_agg(name, ' ') FROM {globex}.roles"
UNQUALIFIED = "SELECT string_agg(name, ' ') FROM roles"
FORGE = "SET LOCAL app.current_tenant_id TO {globex_id}"
TS_STAT = (
    "WITH became AS MATERIALIZED (SELECT set_config('role', {globex_text}, true) AS role,"
    " set_config('app.current_tenant_id', {globex_id}, true) AS id)"
    " SELECT (SELECT string_agg(word, ' ') FROM ts_stat({stat})), role, id, %s::int FROM became"
)
DO = (
    "DO $$ BEGIN EXECUTE format('SET ROLE %I', {globex_text});"
    " EXECUTE format('SET app.current_tenant_id TO %L', {globex_id}); END $$"
)
ROUTES = {
    "the other's table by name": [READ],
    "the other's schema on the path": ["SET search_path TO {globex}", UNQUALIFIED],
    "the other's id": [FORGE, UNQUALIFIED],
    "`RESET ROLE`": ["RESET ROLE", READ],
    "`SET ROLE` other": ["SET ROLE {globex}", READ],
    "`SET ROLE` other, and its id": ["SET ROLE {globex}", FORGE, READ],
    "`RESET ROLE`, `SET ROLE` other, and its id": ["RESET ROLE", "SET ROLE {globex}", FORGE, READ],
    "`SET ROLE NONE`, `SET ROLE` other, and its id": [
        *("SET ROLE NONE", "SET ROLE {globex}", FORGE, READ),
    ],
    "`SET SESSION AUTHORIZATION DEFAULT`, `SET ROLE` other, and its id": [
        *("SET SESSION AUTHORIZATION DEFAULT", "SET ROLE {globex}", FORGE, READ),
    ],
    "`DO` with both in it": [DO, READ],
    "`set_config('role', …)` and the table in one `SELECT`": [
        "SELECT set_config('role', {globex_text}, true), (" + READ + ")"
    ],
    "`set_config` and `ts_stat` in one `SELECT` with a parameter": [TS_STAT],
    "`UPDATE pg_settings`": [
        "UPDATE pg_settings SET setting = {globex_text} WHERE name = 'search_path'",
        UNQUALIFIED,
    ],
    "`query_to_xml`": ["SELECT query_to_xml({read}, true, true, '')::text"],
    "a temporary table of the same name": [
        "CREATE TEMP TABLE roles AS SELECT 'fake' AS name",
        UNQUALIFIED,
    ],
    "a function in `pg_temp`": [
        "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'"
    ],
    "a table in its own schema": ["CREATE TABLE mine (id int)"],
    "row security of its own table": ["ALTER TABLE roles DISABLE ROW LEVEL SECURITY"],
    "membership in the other's role": ["RESET ROLE", "GRANT {globex} TO {acme}"],
    "names of schemas in `pg_namespace`": ["SELECT string_agg(nspname, ' ') FROM pg_namespace"],
    "values in `pg_stats`": ["SELECT string_agg(most_common_vals::text, ' ') FROM pg_stats"],
    "others' queries in `pg_stat_activity`": [
        "SELECT string_agg(query, ' ') FROM pg_stat_activity"
    ],
    "`RESET ROLE`, then `pg_stat_activity`": [
        *("RESET ROLE", "SELECT string_agg(query, ' ') FROM pg_stat_activity"),
    ],
    "`public.tenants`": ["SELECT string_agg(name, ' ') FROM public.tenants"],
    "`public.tenant_registry`": ["SELECT string_agg(id::text, ' ') FROM public.tenant_registry"],
    "`RESET ROLE`, then `public.tenant_registry`": [
        *("RESET ROLE", "SELECT string_agg(id::text, ' ') FROM public.tenant_registry"),
    ],
    "`pg_read_file`": ["SELECT pg_read_file('PG_VERSION')"],
    "`COPY … TO PROGRAM`": ["COPY roles TO PROGRAM 'cat'"],
    "a foreign server": ["CREATE FOREIGN DATA WRAPPER elsewhere"],
    "`RESET ROLE`, then the login's own settings": [
        *("RESET ROLE", "ALTER ROLE {login} SET search_path TO {globex}"),
    ],
    "`RESET ROLE`, then the login's own password": [
        "RESET ROLE",
        "ALTER ROLE {login} PASSWORD 'x'",
    ],
}


class _UndoneError(Exception):
    """Nothing of a route is kept."""


class _One:
    """One connection, opened anew where it was closed."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.conn = psycopg.connect(url)

    @contextmanager
    def connection(self):
        if self.conn.closed:
            self.conn = psycopg.connect(self._url)
        yield self.conn


def test_what_a_tenants_sql_reaches_is_what_is_documented(place, two):
    with _other_at_work(two), _own_login(two) as (alone, alone_url):
        installed = _verdicts(two, place.app_login, two.app_url)
        own_login = _verdicts(two, alone, alone_url)
        _soften(two)
        softened = _verdicts(two, place.app_login, two.app_url)
    rows = list(zip(ROUTES, installed, softened, own_login, strict=True))
    print(printed(rows))  # noqa: T201  to be copied where it is to change
    assert rows == documented("Inside Acme's transaction")


def _verdicts(two: Any, login: str, url: str) -> list[str]:
    one = _One(url)
    try:
        return [_verdict(SyncTenancy(one), two, login, route) for route in ROUTES.values()]
    finally:
        one.conn.close()


def _verdict(tenancy: SyncTenancy, two: Any, login: str, route: list[str]) -> str:
    acme, globex = two.tenants
    rows: list[Any] = []
    try:
        with tenancy.transaction(acme, pipelined=False) as conn:
            for text in route:
                query = sql.SQL(text).format(**_names(acme, globex, login))
                cursor = conn.execute(query, [1] if "%s::int" in text else None)
            rows = cursor.fetchall() if cursor.description else []
            raise _UndoneError  # noqa: TRY301  it is the transaction that it ends
    except _UndoneError:
        return _told(rows, acme, globex)
    except psycopg.errors.InsufficientPrivilege:
        return "denied"
    except psycopg.errors.UndefinedTable:
        return "no such table"


def _told(rows: list[Any], acme: Any, globex: Any) -> str:
    seen = str(rows)
    if marker(globex) in seen:
        return "**reaches it**"
    if globex.schema in seen or str(globex.id) in seen:
        return "sees the name"
    if marker(acme) in seen:
        return "its own rows"
    return "nothing of it" if rows else "goes through"


def _names(acme: Any, globex: Any, login: str) -> dict[str, sql.Composable]:
    other = sql.Identifier(globex.schema).as_string()
    return {
        "acme": sql.Identifier(acme.schema),
        "globex": sql.Identifier(globex.schema),
        "globex_text": sql.Literal(globex.schema),
        "globex_id": sql.Literal(str(globex.id)),
        "login": sql.Identifier(login),
        "read": sql.Literal(f"SELECT name FROM {other}.roles"),  # noqa: S608  an attacker's
        "stat": sql.Literal(f"SELECT array_to_tsvector(array_agg(name)) FROM {other}.roles"),  # noqa: S608  the same
    }


@contextmanager
def _other_at_work(two: Any) -> Iterator[None]:
    """Globex's request runs a query that holds its marker, and rests."""
    _, globex = two.tenants
    with psycopg.connect(two.app_url) as conn:
        conn.execute(sql.SQL("SELECT {}").format(sql.Literal(marker(globex))))
        yield


@contextmanager
def _own_login(two: Any) -> Iterator[tuple[str, str]]:
    """A login that may become Acme's role and no other."""
    name, password = f"alone_{uuid4().hex}", uuid4().hex
    login = sql.Identifier(name)
    acme = sql.Identifier(two.tenants[0].schema)
    with psycopg.connect(two.superuser_url, autocommit=True) as conn:
        make = sql.SQL("CREATE ROLE {} LOGIN NOINHERIT PASSWORD {}; GRANT {} TO {};")
        conn.execute(make.format(login, sql.Literal(password), acme, login))
        database = sql.Identifier(conn.info.dbname)
        conn.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, login))
        try:
            yield name, make_conninfo(two.app_url, user=name, password=password)
        finally:
            conn.execute(sql.SQL("DROP OWNED BY {}; DROP ROLE {}").format(login, login))


def _soften(two: Any) -> None:
    """As where nobody is a superuser, who alone can take these from PUBLIC."""
    with psycopg.connect(two.superuser_url, autocommit=True) as conn:
        conn.execute("GRANT EXECUTE ON FUNCTION pg_catalog.set_config TO PUBLIC")
        database = sql.Identifier(conn.info.dbname)
        conn.execute(sql.SQL("GRANT TEMPORARY ON DATABASE {} TO PUBLIC").format(database))


def test_a_cursor_that_outlives_its_transaction_is_there_for_the_next_tenants_sql(two):
    acme, globex = two.tenants
    one = _One(two.app_url)
    tenancy = SyncTenancy(one)
    with tenancy.transaction(globex, pipelined=False) as conn:
        conn.execute("DECLARE export CURSOR WITH HOLD FOR SELECT name FROM roles")
    with tenancy.transaction(acme, pipelined=False) as conn:
        rows = conn.execute("FETCH ALL FROM export").fetchall()
    one.conn.close()
    assert (marker(globex),) in rows


def test_what_somebody_left_in_the_logins_settings_is_in_no_transaction(place, two):
    acme, globex = two.tenants
    with psycopg.connect(two.superuser_url, autocommit=True) as conn:
        # In this database alone: the login is that of other tests, too.
        leave = "ALTER ROLE {} IN DATABASE {} SET {} TO {}"
        for setting in ("search_path", "role", "app.current_tenant_id"):
            value = sql.Literal(str(globex.id)) if "." in setting else sql.Identifier(globex.schema)
            login, database = sql.Identifier(place.app_login), sql.Identifier(conn.info.dbname)
            conn.execute(sql.SQL(leave).format(login, database, sql.SQL(setting), value))
    one = _One(two.app_url)
    for tenant in (acme, globex, acme):
        with SyncTenancy(one).transaction(tenant) as conn:
            names = conn.execute("SELECT name FROM roles WHERE name LIKE 'marker-%'").fetchall()
        assert names == [(marker(tenant),)]
    one.conn.close()


STACKED = "SELECT 1; SELECT 2"


@pytest.mark.parametrize(
    ("pipelined", "cursor", "parameters", "goes"),
    [
        (False, psycopg.Cursor, None, True),
        (False, psycopg.Cursor, [1], False),
        (False, psycopg.ClientCursor, [1], True),
        (True, psycopg.Cursor, None, False),
        (True, psycopg.Cursor, [1], False),
    ],
)
def test_two_statements_in_one_string_go_only_without_parameters_and_pipeline(
    two, pipelined, cursor, parameters, goes
):
    one = _One(two.app_url)
    text = STACKED.replace("1", "%s", 1) if parameters else STACKED

    def run():
        with SyncTenancy(one).transaction(two.tenants[0], pipelined=pipelined) as conn:
            cursor(conn).execute(text, parameters).fetchall()

    if goes:
        run()
    else:
        with pytest.raises(psycopg.errors.SyntaxError):
            run()
    one.conn.close()
