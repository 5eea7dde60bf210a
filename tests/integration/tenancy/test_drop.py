"""Only what carries our mark is ever destroyed."""

from dataclasses import replace
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from controlplane.domain.naming import schema_name
from controlplane.errors import SchemaConflict
from controlplane.tenancy.drop import drop
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
    "CREATE VIEW {outside}.emails AS SELECT email FROM {schema}.users": "emails",
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
    with pytest.raises(SchemaConflict, match=f"{FOREIGN[build]}.*Remove that, then try again"):
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
