"""Each layer alone keeps one tenant's rows from another: row security, roles, rights, paths."""

from uuid import uuid4

import psycopg
import pytest
from psycopg.errors import CheckViolation, InsufficientPrivilege, UndefinedTable
from psycopg.sql import SQL, Identifier

from controlplane.domain.naming import schema_name
from controlplane.tenancy.tables import metadata as core
from tenant_template.tables import metadata as sample
from tests.integration.tenancy.places import plain

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]

TABLES = sorted([*core.tables, *sample.tables])
APPEND_ONLY = {"audit_events"}


@pytest.fixture(scope="module")
async def pair(place, template):
    """Two tenants with the same rows under the same keys."""
    return await place.tenant(template), await place.tenant(template)


def _count(connection, table):
    return connection.execute(SQL("SELECT count(*) FROM {}").format(Identifier(table))).fetchone()[
        0
    ]


async def test_every_table_shows_its_rows_in_the_right_context_only(place, pair):
    ours, theirs = pair
    with place.served(ours, context=ours) as connection:
        assert {table for table in TABLES if _count(connection, table) == 0} == set()
    for context in (theirs, uuid4(), None):
        with place.served(ours, context=context) as connection:
            assert {table for table in TABLES if _count(connection, table) > 0} == set()


async def test_a_context_that_an_earlier_transaction_left_empty_shows_nothing(place, pair):
    with psycopg.connect(plain(place.app_url)) as connection:
        connection.execute("SET LOCAL app.current_tenant_id = 'x'")
        connection.commit()
        name = Identifier(schema_name(pair[0]))
        connection.execute(SQL("SET LOCAL search_path = {}").format(name))
        connection.execute(SQL("SET LOCAL ROLE {}").format(name))
        assert _count(connection, "users") == 0


@pytest.mark.parametrize("verb", ["UPDATE {} SET tenant_id = tenant_id", "DELETE FROM {}"])
async def test_a_foreign_context_changes_no_row(place, pair, verb):
    ours, theirs = pair
    for table in sorted(set(TABLES) - APPEND_ONLY):
        with place.served(ours, context=theirs) as connection:
            assert connection.execute(SQL(verb).format(Identifier(table))).rowcount == 0


async def test_a_row_cannot_be_written_for_another_tenant(place, pair):
    ours, theirs = pair
    insert = "INSERT INTO roles (name, tenant_id) VALUES ('x', %s)"
    with place.served(ours, context=ours) as connection, pytest.raises(InsufficientPrivilege):
        connection.execute(insert, [theirs])
    # With the context forged, the table's own CHECK still knows whose it is.
    with place.served(ours, context=theirs) as connection, pytest.raises(CheckViolation):
        connection.execute(insert, [theirs])
    with place.served(ours, context=theirs) as connection, pytest.raises(InsufficientPrivilege):
        connection.execute(insert, [ours])
    with place.served(ours, context=None) as connection, pytest.raises(InsufficientPrivilege):
        connection.execute("INSERT INTO roles (name) VALUES ('x')")


async def test_writing_never_mentions_the_tenant(place, pair):
    with place.served(pair[0], context=pair[0]) as connection:
        connection.execute("INSERT INTO roles (name) VALUES ('x')")
        row = connection.execute("SELECT tenant_id FROM roles WHERE name = 'x'").fetchone()
    assert row == (pair[0],)


async def test_the_owner_is_bound_too(place, pair):
    with psycopg.connect(plain(place.owner_url)) as connection:
        name = Identifier(schema_name(pair[0]))
        connection.execute(SQL("SET LOCAL search_path = {}").format(name))
        assert {table for table in TABLES if _count(connection, table) > 0} == set()


async def test_a_tenants_role_cannot_reach_its_neighbour(place, pair):
    ours, theirs = pair
    for table in TABLES:
        with place.served(ours, context=theirs) as connection:
            other = Identifier(schema_name(theirs), table)
            with pytest.raises(InsufficientPrivilege, match="permission denied for schema"):
                connection.execute(SQL("SELECT FROM {}").format(other))


async def test_a_neighbours_schema_on_the_path_is_skipped(place, pair):
    ours, theirs = pair
    with place.served(ours, context=theirs) as connection:
        connection.execute(
            SQL("SET LOCAL search_path = {}").format(Identifier(schema_name(theirs)))
        )
        with pytest.raises(UndefinedTable):
            connection.execute("SELECT FROM users")


async def test_the_app_without_a_role_reads_no_tenant(place, pair):
    for table in TABLES:
        with psycopg.connect(plain(place.app_url)) as connection:
            there = Identifier(schema_name(pair[0]), table)
            with pytest.raises(InsufficientPrivilege):
                connection.execute(SQL("SELECT FROM {}").format(there))


FORBIDDEN = [
    "ALTER TABLE users DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE users NO FORCE ROW LEVEL SECURITY",
    "DROP POLICY tenant_rows ON users",
    "CREATE POLICY open ON users USING (true)",
    "TRUNCATE users CASCADE",
    "CREATE TABLE mine (x int)",
    "CREATE TRIGGER t BEFORE INSERT ON users EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "UPDATE audit_events SET action = 'x'",
    "DELETE FROM audit_events",
    "SELECT FROM alembic_version",
    "DROP TABLE users",
]


async def test_a_tenants_role_may_change_rows_and_nothing_else(place, pair):
    allowed = []
    for attempt in FORBIDDEN:
        with place.served(pair[0], context=pair[0]) as connection:
            try:
                connection.execute(attempt)
            except InsufficientPrivilege:
                continue
            allowed.append(attempt)
    assert allowed == []


async def test_a_tenants_role_cannot_pass_its_rights_on(place, pair):
    with place.served(pair[0], context=pair[0]) as connection:
        connection.execute("GRANT SELECT ON users TO PUBLIC")
        acl = "SELECT relacl::text FROM pg_class WHERE oid = 'users'::regclass"
        (rights,) = connection.execute(acl).fetchone()
    assert "{=r/" not in rights
    assert ",=r/" not in rights


async def test_switching_row_security_off_in_the_session_gives_an_error_and_no_rows(place, pair):
    with place.served(pair[0], context=pair[0]) as connection:
        connection.execute("SET LOCAL row_security = off")
        with pytest.raises(InsufficientPrivilege, match="row-level security"):
            connection.execute("SELECT FROM users")


async def test_the_same_keys_in_two_tenants_are_two_rows(place, pair):
    ours, theirs = pair
    with place.served(ours, context=ours) as connection:
        connection.execute("UPDATE users SET name = 'Changed' WHERE email = 'ada@example.test'")
    with place.served(theirs, context=theirs) as connection:
        name = connection.execute(
            "SELECT name FROM users WHERE email = 'ada@example.test'"
        ).fetchone()
    assert name == ("Ada",)
