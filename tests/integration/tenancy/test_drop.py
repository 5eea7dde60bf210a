"""Only what carries our mark is ever destroyed."""

from contextlib import AsyncExitStack
from dataclasses import replace
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Literal
from sqlalchemy.exc import OperationalError

from controlplane.domain.naming import schema_name
from controlplane.errors import SchemaConflict
from controlplane.tenancy.drop import drop
from controlplane.tenancy.slots import AT_MOST, AT_ONCE, take
from tests.integration.tenancy.places import plain, tables
from tests.integration.tenancy.templates import NOTES, application

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


async def _drop(place, tenant_id, mark=None):
    async with place.owner() as conn:
        await drop(conn, tenant_id=tenant_id, mark=mark or place.mark(tenant_id))


async def test_a_tenant_goes_with_its_rows_and_role(place, template):
    tenant_id, neighbour = await place.tenant(template), await place.tenant(template)
    await _drop(place, tenant_id)
    assert place.names(tenant_id) == (False, False)
    assert place.names(neighbour) == (True, True)


async def test_what_is_absent_is_dropped_already(place, template):
    tenant_id = await place.tenant(template)
    await _drop(place, tenant_id)
    await _drop(place, tenant_id)
    await _drop(place, uuid4())
    assert place.names(tenant_id) == (False, False)


async def test_another_installations_tenant_stays(place, template):
    tenant_id = await place.tenant(template)
    await _drop(place, tenant_id, replace(place.mark(tenant_id), installation=uuid4()))
    assert place.names(tenant_id) == (True, True)


async def test_a_schema_without_a_mark_stays(place, template):
    tenant_id = await place.tenant(template)
    with place.superuser() as connection:
        name = Identifier(schema_name(tenant_id))
        connection.execute(SQL("COMMENT ON SCHEMA {} IS NULL").format(name))
    # The role is ours still, but the schema uses it: nothing may go by halves.
    with pytest.raises(SchemaConflict, match="privileges for schema"):
        await _drop(place, tenant_id)
    assert place.names(tenant_id) == (True, True)


async def test_a_tenant_whose_role_a_session_is_using_can_be_dropped(place, template):
    tenant_id = await place.tenant(template)
    with psycopg.connect(plain(place.app_url)) as connection:
        connection.execute(SQL("SET ROLE {}").format(Identifier(schema_name(tenant_id))))
        connection.commit()
        await _drop(place, tenant_id)
        assert place.names(tenant_id) == (False, False)


# What the lint refuses is found, not prevented: a tenant that has it must go all the same.
OF_EVERY_KIND = """
op.execute("CREATE TYPE mood AS ENUM ('sad', 'ok')")
op.execute("CREATE SEQUENCE numbers")
op.execute("CREATE FUNCTION next_number() RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'")
op.execute(
    "CREATE TABLE odd (id serial, mood mood, n bigint DEFAULT next_number(),"
    " m bigint DEFAULT nextval('numbers'), i int GENERATED ALWAYS AS IDENTITY)"
)
op.execute('CREATE TABLE "Parts; x" (id int) PARTITION BY LIST (id)')
op.execute('CREATE TABLE part PARTITION OF "Parts; x" DEFAULT')
op.execute("CREATE INDEX ix_odd ON odd (n)")
op.execute("CREATE STATISTICS odd_moods ON n, mood FROM odd")
op.execute("CREATE VIEW seen AS SELECT mood FROM odd")
op.execute("CREATE MATERIALIZED VIEW kept AS SELECT mood FROM seen")
op.execute("CREATE VIEW seen_again AS SELECT mood FROM kept")
op.execute("CREATE FUNCTION mood_of(odd) RETURNS mood LANGUAGE sql AS 'SELECT $1.mood'")
"""
# What others built upon a tenant's table, and how to see that it is still there.
FOREIGN = {
    "CREATE TABLE {schema}.own (id serial);"
    " CREATE VIEW {outside}.emails AS SELECT email FROM {schema}.users": "emails",
    "CREATE MATERIALIZED VIEW {outside}.kept AS SELECT id FROM {schema}.roles": "kept",
    "CREATE TABLE {outside}.notes (user_id uuid REFERENCES {schema}.users)": "notes",
    "CREATE TABLE {outside}.heirs () INHERITS ({schema}.users)": "heirs",
    "CREATE TABLE {outside}.typed (who {schema}.users)": "typed",
    "CREATE TABLE {schema}.days (day int) PARTITION BY LIST (day);"
    " CREATE TABLE {outside}.monday PARTITION OF {schema}.days DEFAULT": "monday",
}


async def test_everything_that_a_template_made_goes(place, tmp_path):
    template = application(tmp_path, upgrade=f"{NOTES}\n{OF_EVERY_KIND}")
    tenant_id, neighbour = [await place.tenant(template, rows=False) for _ in range(2)]
    await _drop(place, tenant_id)
    assert place.names(tenant_id) == (False, False)
    with place.superuser() as connection:
        left = tables(connection, schema_name(neighbour))
    assert {"notes", "odd", "part"} <= {*left}


@pytest.mark.parametrize("build", FOREIGN)
async def test_what_others_built_upon_a_tenants_table_is_never_destroyed(place, template, build):
    tenant_id = await place.tenant(template)
    names = {"outside": Identifier(f"outside_{uuid4().hex}")}
    with place.superuser() as connection:
        connection.execute(SQL("CREATE SCHEMA {outside}").format(**names))
        names["schema"] = Identifier(schema_name(tenant_id))
        connection.execute(SQL(build).format(**names))
    # What of ours depends on ours is not to be removed.
    told = rf"depends on it: [^;:]*{FOREIGN[build]}[^;:]*\. Remove that, then try again"
    with pytest.raises(SchemaConflict, match=told):
        await _drop(place, tenant_id)
    assert place.names(tenant_id) == (True, True)
    with place.owned(tenant_id) as connection:
        assert connection.execute("SELECT count(*) > 0 FROM users").fetchone() == (True,)
    with place.superuser() as connection:
        found = SQL("TABLE {outside}.{it}").format(**names, it=Identifier(FOREIGN[build]))
        assert connection.execute(found).fetchall() is not None
        connection.execute(SQL("DROP SCHEMA {outside} CASCADE").format(**names))
    await _drop(place, tenant_id)
    assert place.names(tenant_id) == (False, False)


# -- a schema that is larger than one transaction should drop -------------------------------------


async def _dropped(place, tenant_id, budget):
    """Drop in as many transactions as it takes; how many they were, and the locks of the one that
    held the most."""
    held = []
    for _ in range(400):
        async with place.owner() as conn:
            gone = await drop(conn, tenant_id=tenant_id, mark=place.mark(tenant_id), budget=budget)
            held.append((await conn.exec_driver_sql(LOCKS)).scalar_one())
        if gone:
            return len(held), max(held)
    raise AssertionError("it does not end")


# What a transaction holds anyway: itself, its savepoints, the catalogs, the slot.
LOCKS = "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()"
BESIDES = 60
TABLES = """
DO $$
BEGIN
  FOR n IN 1..{tables} LOOP
    EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, user_id uuid NOT NULL REFERENCES users,'
      ' next int, body text DEFAULT ''x'')', n);
    EXECUTE format('CREATE INDEX ON t%s (user_id)', n);
  END LOOP;
  FOR n IN 1..{tables} LOOP
    EXECUTE format('ALTER TABLE t%s ADD FOREIGN KEY (next) REFERENCES t%s', n, n % {tables} + 1);
  END LOOP;
END $$;
CREATE TABLE days (id int, day int, PRIMARY KEY (id, day)) PARTITION BY LIST (day);
CREATE TABLE monday PARTITION OF days FOR VALUES IN (1);
CREATE TABLE tuesday PARTITION OF days FOR VALUES IN (2);
CREATE TABLE visits (id int, day int, FOREIGN KEY (id, day) REFERENCES days);
CREATE VIEW seen AS SELECT t1.id FROM t1 JOIN t2 USING (id);
CREATE VIEW seen_again AS SELECT id FROM seen
"""


async def _large(place, template, tables):
    tenant_id = await place.tenant(template)
    with place.owned(tenant_id) as connection:
        connection.execute(SQL(TABLES).format(tables=Literal(tables)))
    return tenant_id


async def test_a_large_tenant_goes_in_batches_none_of_which_holds_more_locks_than_its_budget(
    place, template
):
    tenant_id, neighbour = await _large(place, template, 120), await place.tenant(template)
    transactions, most = await _dropped(place, tenant_id, AT_MOST)
    assert place.names(tenant_id) == (False, False)
    assert place.names(neighbour) == (True, True)
    assert 2 < transactions < 12
    assert most <= AT_MOST + BESIDES


async def test_the_locks_of_a_drop_that_keeps_to_no_budget_are_seen(place, template):
    tenant_id = await _large(place, template, 80)
    assert await _dropped(place, tenant_id, 100_000) > (1, AT_MOST + BESIDES)


async def test_an_ordinary_tenant_goes_in_one_transaction(place, template):
    transactions, most = await _dropped(place, await place.tenant(template), AT_MOST)
    assert transactions == 1
    assert most <= AT_MOST + BESIDES


async def test_however_small_the_budget_everything_that_a_template_made_goes(place, tmp_path):
    template = application(tmp_path, upgrade=f"{NOTES}\n{OF_EVERY_KIND}")
    tenant_id, neighbour = [await place.tenant(template, rows=False) for _ in range(2)]
    transactions, _ = await _dropped(place, tenant_id, 1)
    assert transactions > 20
    assert place.names(tenant_id) == (False, False)
    assert place.names(neighbour) == (True, True)


@pytest.mark.parametrize("build", FOREIGN)
async def test_what_others_built_stops_a_drop_in_batches_before_anything_is_gone(
    place, template, build
):
    tenant_id = await place.tenant(template)
    names = {"outside": Identifier(f"outside_{uuid4().hex}")}
    with place.superuser() as connection:
        connection.execute(SQL("CREATE SCHEMA {outside}").format(**names))
        names["schema"] = Identifier(schema_name(tenant_id))
        connection.execute(SQL(build).format(**names))
        before = tables(connection, schema_name(tenant_id))
    with pytest.raises(SchemaConflict, match=f"{FOREIGN[build]}.*Remove that, then try again"):
        await _dropped(place, tenant_id, 30)
    with place.superuser() as connection:
        assert tables(connection, schema_name(tenant_id)) == before
        connection.execute(SQL("DROP SCHEMA {outside} CASCADE").format(**names))
    await _dropped(place, tenant_id, 30)
    assert place.names(tenant_id) == (False, False)


async def test_a_kind_that_no_template_makes_stops_a_drop_in_batches_before_anything_is_gone(
    place, template
):
    tenant_id = await place.tenant(template)
    with place.owned(tenant_id) as connection:
        connection.execute('CREATE COLLATION tidy FROM "C"')
    with pytest.raises(SchemaConflict, match=r"collation .*tidy"):
        await _dropped(place, tenant_id, 30)
    with place.owned(tenant_id) as connection:
        assert connection.execute("SELECT count(*) > 0 FROM users").fetchone() == (True,)
        connection.execute("DROP COLLATION tidy")
    await _dropped(place, tenant_id, 30)


async def test_ddl_runs_in_a_few_transactions_at_once_and_others_wait_for_one_of_them(
    place, template
):
    tenant_id = await place.tenant(template)
    async with AsyncExitStack() as stack:
        holders = [await stack.enter_async_context(place.owner()) for _ in range(AT_ONCE)]
        for conn in holders:
            assert await take(conn) == AT_MOST
        async with place.owner() as late:
            await late.exec_driver_sql("SET LOCAL lock_timeout = '50ms'")
            with pytest.raises(OperationalError, match="lock timeout"):
                await drop(late, tenant_id=tenant_id, mark=place.mark(tenant_id))
            await late.rollback()
        await holders[0].rollback()
        await _drop(place, tenant_id)
    assert place.names(tenant_id) == (False, False)


async def test_a_transaction_takes_one_slot_only(place):
    async with place.owner() as conn:
        await take(conn)
        held = (
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        )
        assert (await conn.exec_driver_sql(held)).scalar_one() == 1
