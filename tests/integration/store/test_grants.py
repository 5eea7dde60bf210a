"""What each of the three logins may do, named right by right; whatever is not listed is denied."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import InsufficientPrivilege

from tests.database import Database, Server

pytestmark = pytest.mark.database_near

ALL = "DELETE INSERT SELECT UPDATE"
CONTROL = {
    "alembic_version_public": "SELECT",
    "api_tokens": ALL,
    "audit_log": "INSERT SELECT",
    "drift_findings": "SELECT",
    "drift_look": "SELECT",
    "email_deliveries": ALL,
    "global_users": ALL,
    "idempotency_keys": ALL,
    "installation": "SELECT",
    "operation_events": ALL,
    "operation_steps": ALL,
    "operations": ALL,
    "rate_counts": ALL,
    "rollout_targets": "INSERT SELECT UPDATE",
    "rollouts": "INSERT SELECT UPDATE",
    "structure_drift": "SELECT",
    "structure_look": "SELECT",
    "subdomain_holds": ALL,
    "system_config": ALL,
    "tenant_changes": "INSERT SELECT",
    "tenant_domains": ALL,
    "tenant_registry": "SELECT",
    "tenant_resources": ALL,
    "tenants": ALL,
    "warm_schemas": "DELETE SELECT UPDATE",
}
APP = {
    "tenant_hosts": "SELECT",
    "tenant_registry": "SELECT",
    "tenant_registry_changes": "SELECT",
}

_RIGHTS = """
SELECT c.relname, string_agg(p.privilege, ' ' ORDER BY p.privilege)
FROM pg_class c, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES',
  'TRIGGER']) AS p (privilege)
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND has_table_privilege(current_user, c.oid, p.privilege)
GROUP BY c.relname
"""
_COLUMN_RIGHTS = """
SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND has_column_privilege(current_user, c.oid, a.attnum, 'SELECT,INSERT,UPDATE,REFERENCES')
  AND c.relname NOT IN ('tenant_hosts', 'tenant_registry', 'tenant_registry_changes')
  AND a.attnum > 0
"""
_POWERS = """
SELECT CASE WHEN rolsuper THEN 'superuser' END, CASE WHEN rolbypassrls THEN 'bypasses rls' END,
  CASE WHEN rolreplication THEN 'replicates' END, CASE WHEN rolcreatedb THEN 'creates dbs' END,
  CASE WHEN rolcreaterole THEN 'creates roles' END, CASE WHEN rolinherit THEN 'inherits' END,
  CASE WHEN has_function_privilege('pg_catalog.set_config(text,text,bool)', 'EXECUTE')
    THEN 'set_config' END
FROM pg_roles WHERE rolname = session_user
"""


@contextmanager
def _as(url: str) -> Iterator[psycopg.Connection]:
    """A session of which nothing stays."""
    with psycopg.connect(url) as conn:
        yield conn
        conn.rollback()


def _url(database: Database, login: str) -> str:
    url: str = getattr(database, f"{login}_url")
    return url


@pytest.mark.parametrize(("login", "rights"), [("control", CONTROL), ("app", APP)])
def test_a_login_has_exactly_these_rights(
    shared: Database, login: str, rights: dict[str, str]
) -> None:
    with _as(_url(shared, login)) as conn:
        assert dict(conn.execute(_RIGHTS).fetchall()) == rights


def test_the_app_login_sees_no_column_of_any_table(shared: Database) -> None:
    with _as(shared.app_url) as conn:
        assert conn.execute(_COLUMN_RIGHTS).fetchall() == []


@pytest.mark.parametrize("table", sorted(set(CONTROL) - {"tenant_registry"}))
def test_the_app_login_can_read_no_table(shared: Database, table: str) -> None:
    query = sql.SQL("SELECT * FROM public.{}").format(sql.Identifier(table))
    with _as(shared.app_url) as conn, pytest.raises(InsufficientPrivilege):
        conn.execute(query)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE public.tenant_registry SET state = 'active'",
        "DELETE FROM public.tenant_registry",
        "INSERT INTO public.tenant_registry (id, subdomain) VALUES (gen_random_uuid(), 'x')",
    ],
)
def test_the_registry_is_read_only_to_app_servers(shared: Database, statement: str) -> None:
    with _as(shared.app_url) as conn, pytest.raises(InsufficientPrivilege):
        conn.execute(statement.encode())


def test_the_registry_shows_who_can_be_addressed_and_nothing_personal(
    tx: psycopg.Connection,
) -> None:
    states = "provisioning active suspended deleting deleted purging purged failed".split()  # noqa: SIM905  a list of words
    for state in states:
        tx.execute(
            "INSERT INTO public.tenants (id, name, subdomain, state, tier, admin_email)"
            " VALUES (gen_random_uuid(), 'Acme', %(state)s, %(state)s, 'starter', 'a@b.test')",
            {"state": state},
        )
    cursor = tx.execute("SELECT * FROM public.tenant_registry")
    rows = cursor.fetchall()
    assert [column.name for column in cursor.description or []] == [
        "id",
        "subdomain",
        "name",
        "state",
        "tier",
        "revision",
    ]
    assert {row[3] for row in rows} == set(states) - {"failed", "purged"}


@pytest.mark.parametrize("login", ["control", "app"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE public.audit_log SET outcome = 'ok'",
        "DELETE FROM public.audit_log",
        "TRUNCATE public.audit_log",
        "DROP TABLE public.audit_log",
        "ALTER TABLE public.audit_log DISABLE TRIGGER ALL",
        "CREATE RULE r AS ON INSERT TO public.audit_log DO INSTEAD NOTHING",
    ],
)
def test_the_audit_log_can_only_grow(shared: Database, login: str, statement: str) -> None:
    with _as(_url(shared, login)) as conn, pytest.raises(InsufficientPrivilege):
        conn.execute(statement.encode())


@pytest.mark.parametrize("login", ["control", "app"])
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE public.mine (id int)",
        "CREATE VIEW public.mine AS SELECT 1",
        "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA mine",
        "CREATE TEMPORARY TABLE mine (id int)",
        "CREATE ROLE mine",
        "ALTER TABLE public.operations DISABLE TRIGGER operation_change",
        "DROP TRIGGER operation_change ON public.operations",
        "ALTER FUNCTION public.check_tenant_change() RENAME TO unchecked",
        "UPDATE public.installation SET id = gen_random_uuid()",
        "UPDATE public.alembic_version_public SET version_num = 'x'",
        "SELECT set_config('app.current_tenant_id', 'x', true)",
        "SELECT set_config('role', 'cp_owner', false)",
        "SET ROLE cp_owner",
        "SET SESSION AUTHORIZATION cp_owner",
        "SET session_replication_role = replica",
        "SELECT pg_read_file('postgresql.conf')",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT rolpassword FROM pg_authid",
    ],
)
def test_a_login_cannot_reach_beyond_its_rights(
    shared: Database, login: str, statement: str
) -> None:
    with _as(_url(shared, login)) as conn, pytest.raises(InsufficientPrivilege):
        conn.execute(statement.encode())


def test_nobody_but_the_owner_may_create_in_public(shared: Database) -> None:
    with _as(shared.superuser_url) as conn:
        acl = conn.execute(
            "SELECT coalesce(r.rolname, 'PUBLIC'), a.privilege_type"
            " FROM pg_namespace n, aclexplode(n.nspacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee"
            " WHERE n.nspname = 'public'"
        ).fetchall()
    assert set(acl) == {
        ("cp_owner", "CREATE"),
        ("cp_owner", "USAGE"),
        ("cp_control", "USAGE"),
        ("cp_app", "USAGE"),
    }


def test_a_stranger_cannot_even_connect(server: Server, shared: Database) -> None:
    with _as(server.superuser_url) as conn:
        row = conn.execute(
            "SELECT has_database_privilege('public', %(name)s, 'CONNECT'),"
            " has_database_privilege('public', %(name)s, 'TEMPORARY'),"
            " has_database_privilege('cp_app', %(name)s, 'CONNECT'),"
            " has_database_privilege('cp_app', %(name)s, 'CREATE')",
            {"name": shared.name},
        ).fetchone()
    assert row == (False, False, True, False)


@pytest.mark.parametrize(
    ("login", "powers"),
    [
        ("owner", {"creates roles", "inherits", "set_config"}),
        ("control", {"inherits"}),
        ("app", set()),
    ],
)
def test_no_login_is_mighty_and_each_has_its_own_powers(
    shared: Database, login: str, powers: set[str]
) -> None:
    with _as(_url(shared, login)) as conn:
        row = conn.execute(_POWERS).fetchone()
    assert row is not None
    assert {power for power in row if power} == powers


# Roles belong to the whole server: another test's tenants are seen here, put away by
# tests/engine/keeping.py or not.
@pytest.mark.parametrize("login", ["control", "app"])
def test_a_login_of_the_running_system_belongs_to_nobody(shared: Database, login: str) -> None:
    with _as(_url(shared, login)) as conn:
        roles = conn.execute(
            "SELECT rolname FROM pg_roles WHERE pg_has_role(session_user, oid, 'MEMBER')"
            " AND rolname <> session_user AND rolname !~ '^(hidden_)?tenant_'"
        ).fetchall()
        owned = conn.execute(
            "SELECT relname FROM pg_class WHERE relowner = session_user::regrole"
            " UNION ALL SELECT datname FROM pg_database WHERE datdba = session_user::regrole"
        ).fetchall()
    assert (roles, owned) == ([], [])


def test_nothing_in_the_database_can_be_switched_off_by_a_setting(shared: Database) -> None:
    """ISO-07: no policy, function or view asks for an admin's flag; none runs as its definer."""
    with _as(shared.superuser_url) as conn:
        asking = conn.execute(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
            " AND (prosecdef OR prosrc ILIKE '%current_setting%' OR prosrc ILIKE '%session_user%')"
            " UNION ALL SELECT viewname FROM pg_views WHERE schemaname = 'public'"
            " AND definition ILIKE '%current_setting%'"
        ).fetchall()
    assert asking == []
