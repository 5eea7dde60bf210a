"""A stamp tells whether anything of a schema was written again, and rows are nothing of it."""

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from controlplane.domain.naming import schema_name
from controlplane.tenancy.scope import send
from controlplane.tenancy.stamp import stamps
from tests.integration.tenancy.places import plain
from tests.integration.tenancy.test_structure import MEDDLING

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]

# What leaves the structure as it was is told as well.
CHANGED_BACK = (
    "ALTER TABLE {schema}.users ADD note text; ALTER TABLE {schema}.users DROP note",
    "REVOKE {schema} FROM {app}; GRANT {schema} TO {app}",
    "GRANT USAGE ON SCHEMA {schema} TO {app}",
)


async def test_whatever_is_changed_by_hand_changes_the_stamp_of_that_schema_alone(place, template):
    ours, neighbour = [schema_name(await place.tenant(template)) for _ in range(2)]
    async with place.superuser_async() as conn:
        before = await stamps(conn, [ours, neighbour])
        foreign = await conn.exec_driver_sql(_FOREIGN.format(ours))
        names = {
            "schema": Identifier(ours),
            "foreign": Identifier(foreign.scalar_one()),
            "app": Identifier(place.app_login),
            "superuser": SQL("CURRENT_USER"),
            "noop": SQL("suppress_redundant_updates_trigger"),
        }
        for statement in (*MEDDLING, *CHANGED_BACK):
            attempt = await conn.begin_nested()
            await send(conn, SQL(statement).format(**names).as_string())
            found = await stamps(conn, [ours, neighbour])
            await attempt.rollback()
            assert found[ours] != before[ours], statement
            assert found[neighbour] == before[neighbour], statement


_FOREIGN = (
    "SELECT conname FROM pg_constraint WHERE conrelid = '{}.user_roles'::regclass"
    " AND contype = 'f' LIMIT 1"
)


async def test_rows_and_housekeeping_leave_the_stamp_as_it_is(place, template):
    tenant_id = await place.tenant(template, rows=False)
    schema = schema_name(tenant_id)
    async with place.owner() as conn:
        before = await stamps(conn, [schema])

    with place.owned(tenant_id) as connection:
        connection.execute("UPDATE users SET state = state")
        connection.execute("DELETE FROM settings")
    with psycopg.connect(plain(place.superuser_url), autocommit=True) as connection:
        for verb in ("VACUUM", "ANALYZE"):
            connection.execute(SQL(f"{verb} {{}}.users").format(Identifier(schema)))
        connection.execute("VACUUM (FREEZE) pg_attribute, pg_class, pg_constraint, pg_depend")

    async with place.owner() as conn:
        assert await stamps(conn, [schema]) == before


async def test_what_is_not_there_has_none(place, template):
    schema = schema_name(await place.tenant(template, rows=False))
    async with place.owner() as conn:
        assert set(await stamps(conn, [schema, schema_name(place.installation)])) == {schema}
