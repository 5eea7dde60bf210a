"""A tenant's schema comes into being whole or not at all, and is never taken from anybody."""

import asyncio
from uuid import uuid4

import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from controlplane.domain.naming import schema_name
from controlplane.errors import SchemaConflict, Transient
from controlplane.tenancy.create import create
from controlplane.tenancy.verify import verify_catalog
from tests.integration.tenancy.places import tables
from tests.integration.tenancy.templates import application

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]

CORE = {
    "users", "sessions", "oauth_accounts", "oauth_states", "passkeys", "passkey_challenges",
    "secure_tokens", "failed_login_attempts", "session_keys", "api_clients", "unverified_users",
    "unverified_clients", "tenant_realms", "roles", "user_roles", "client_roles", "settings",
    "audit_events",
}  # fmt: skip
SAMPLE = {"registrations", "clients", "documents", "commissions"}


async def _create(place, conn, tenant_id, template, *, mark=None):
    return await create(
        conn,
        tenant_id=tenant_id,
        mark=mark or place.mark(tenant_id),
        app_login=place.app_login,
        template=template,
    )


async def test_a_new_tenant_has_every_table_and_nothing_to_complain_about(place, template):
    tenant_id = await place.tenant(template, rows=False)
    with place.superuser() as connection:
        found = tables(connection, schema_name(tenant_id))
    assert set(found) == CORE | SAMPLE | {"alembic_version"}
    async with place.owner() as conn:
        assert (
            await verify_catalog(
                conn, tenant_id=tenant_id, app_login=place.app_login, template=template
            )
            == []
        )


async def test_the_revision_is_the_sorted_heads_and_each_is_a_row(place, template):
    tenant_id = uuid4()
    async with place.owner() as conn:
        revision = await _create(place, conn, tenant_id, template)
    assert revision == "app_0001,core_0003"
    with place.owned(tenant_id) as connection:
        rows = connection.execute("SELECT version_num FROM alembic_version ORDER BY 1").fetchall()
    assert rows == [("app_0001",), ("core_0003",)]


async def test_the_seeds_are_there_with_their_percent_signs(place, template):
    tenant_id = await place.tenant(template, rows=False)
    with place.owned(tenant_id) as connection:
        roles = connection.execute("SELECT name FROM roles ORDER BY rank DESC").fetchall()
        realms = connection.execute("SELECT name, type, active FROM tenant_realms").fetchall()
        rate = connection.execute(
            "SELECT description FROM settings WHERE key = 'commissions.default_rate'"
        ).fetchone()
    assert roles == [("tenant_admin",), ("tenant_manager",), ("user",)]
    assert realms == [("database", "username_password", True)]
    assert rate == ("Share of the fee, 0 to 1 (10%)",)


async def test_the_transaction_goes_on_without_path_or_tenant(place, template):
    async with place.owner() as conn:
        await _create(place, conn, uuid4(), template)
        assert await conn.scalar(text("SHOW search_path")) == "pg_catalog, pg_temp"
        assert await conn.scalar(text("SELECT current_setting('app.current_tenant_id')")) == ""


async def test_creating_twice_makes_one_schema_and_says_the_same(place, template):
    tenant_id = await place.tenant(template)
    async with place.owner() as conn:
        assert await _create(place, conn, tenant_id, template) == "app_0001,core_0003"
    with place.owned(tenant_id) as connection:
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (2,)


async def test_a_foreign_schema_of_the_name_stays_untouched(place, template):
    tenant_id = uuid4()
    name = Identifier(schema_name(tenant_id))
    with place.superuser() as connection:
        connection.execute(SQL("CREATE SCHEMA {}").format(name))
        connection.execute(SQL("CREATE TABLE {}.theirs (x int)").format(name))
    async with place.owner() as conn:
        with pytest.raises(SchemaConflict, match="not wholly this tenant's"):
            await _create(place, conn, tenant_id, template)
    assert place.names(tenant_id) == (True, False)
    with place.superuser() as connection:
        assert tables(connection, schema_name(tenant_id)) == ["theirs"]
        connection.execute(SQL("DROP SCHEMA {} CASCADE").format(name))


async def test_a_foreign_role_of_the_name_stays_untouched(place, template):
    tenant_id = uuid4()
    name = Identifier(schema_name(tenant_id))
    with place.superuser() as connection:
        connection.execute(SQL("CREATE ROLE {}").format(name))
    async with place.owner() as conn:
        with pytest.raises(SchemaConflict):
            await _create(place, conn, tenant_id, template)
    assert place.names(tenant_id) == (False, True)
    with place.superuser() as connection:
        connection.execute(SQL("DROP ROLE {}").format(name))


async def test_another_installations_tenant_of_the_same_id_is_refused(place, template):
    tenant_id = await place.tenant(template)
    other = place.mark(tenant_id).__class__(uuid4(), tenant_id, uuid4())
    async with place.owner() as conn:
        with pytest.raises(SchemaConflict):
            await _create(place, conn, tenant_id, template, mark=other)


async def test_an_error_in_the_last_statement_leaves_nothing(place, tmp_path):
    broken = application(tmp_path, seed="INSERT INTO notes (id) VALUES (1), (1);")
    tenant_id = uuid4()
    with pytest.raises(DBAPIError, match="pk_notes"):
        async with place.owner() as conn:
            await _create(place, conn, tenant_id, broken)
    assert place.names(tenant_id) == (False, False)


async def test_twelve_tenants_at_once_become_twelve_whole_schemas(place, template):
    made = await asyncio.gather(*(place.tenant(template, rows=False) for _ in range(12)))
    for tenant_id in made:
        async with place.owner() as conn:
            findings = await verify_catalog(
                conn, tenant_id=tenant_id, app_login=place.app_login, template=template
            )
        assert findings == []


async def test_a_tenant_that_appears_meanwhile_is_a_reason_to_try_again(place, template):
    tenant_id = uuid4()
    async with place.owner() as first:
        await _create(place, first, tenant_id, template)

        async def second():
            async with place.owner() as conn:
                await _create(place, conn, tenant_id, template)

        racing = asyncio.create_task(second())
        await _until_blocked(place)
        await first.commit()
        with pytest.raises(Transient):
            await racing


async def _until_blocked(place):
    with place.superuser() as connection:
        connection.autocommit = True
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND query LIKE 'CREATE ROLE%' AND datname = current_database()"
        )
        while connection.execute(waiting).fetchone() == (0,):  # noqa: ASYNC110  another process's state
            await asyncio.sleep(0.01)
