from collections.abc import Iterator
from typing import Any, ClassVar
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL
from psycopg_pool import AsyncConnectionPool

from controlplane.domain.tenants import TenantState
from controlplane.errors import UnsafeDatabaseRole
from controlplane.routing import RoutedTenant, TenantDirectory, check_login

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


async def _check(world):
    async with await psycopg.AsyncConnection.connect(world.app) as conn:
        return await check_login(conn)


async def test_the_intended_login_passes(world):
    world.do("REVOKE EXECUTE ON FUNCTION pg_catalog.set_config FROM PUBLIC")
    world.do("REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC", name=world.database)
    assert await _check(world) == []


async def test_what_public_may_do_is_warned_about(world):
    set_config, temporary = await _check(world)
    assert "set_config()" in set_config
    assert "temporary tables" in temporary


@pytest.mark.parametrize("left", ["search_path", "role", "app.current_tenant_id"])
async def test_what_somebody_left_in_the_logins_settings_is_warned_about(world, left):
    world.do("REVOKE EXECUTE ON FUNCTION pg_catalog.set_config FROM PUBLIC")
    world.do("REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC", name=world.database)
    world.do("ALTER ROLE {login} SET statement_timeout TO '10s'", login=world.login)
    assert await _check(world) == []
    names = {"login": world.login, "name": world.database, "globex": world.globex.schema}
    world.do(f"ALTER ROLE {{login}} IN DATABASE {{name}} SET {left} TO {{globex}}", **names)
    (warning,) = await _check(world)
    assert "pg_db_role_setting" in warning


FAULTS = {
    "a superuser": ("ALTER ROLE {login} SUPERUSER", r"programs\): app_"),
    "past row security": ("ALTER ROLE {login} BYPASSRLS", "powers over all tenants"),
    "a maker of roles": ("ALTER ROLE {login} CREATEROLE", "powers over all tenants"),
    "a member of the superuser": ("GRANT postgres TO {login}", "postgres"),
    "a reader of everything": ("GRANT pg_read_all_data TO {login}", "pg_read_all_data"),
    "the view's owner": ("ALTER VIEW public.tenant_registry OWNER TO {login}", "tenant_registry"),
    "the table's owner": ("ALTER TABLE public.tenants OWNER TO {login}", "public.tenants"),
    "the schema's owner": ("ALTER SCHEMA public OWNER TO {login}", "schema public"),
    "the database's owner": ("ALTER DATABASE {name} OWNER TO {login}", "database routing_"),
    "a tenant schema's owner": ("ALTER SCHEMA {acme} OWNER TO {login}", "schema tenant_"),
    "a tenant's role owning its schema": ("ALTER SCHEMA {acme} OWNER TO {acme}", "schema tenant_"),
    "inheriting": ("ALTER ROLE {login} INHERIT", "NOINHERIT"),
    "inheriting from a later grant": (
        "ALTER ROLE {login} INHERIT; REVOKE {acme}, {globex} FROM {login}; GRANT {acme} TO {login}",
        "NOINHERIT",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_login_with_rights_of_its_own_is_refused(world, fault):
    change, said = FAULTS[fault]
    names = {"login": world.login, "acme": world.acme.schema, "globex": world.globex.schema}
    world.do(change, name=world.database, **names)
    try:
        with pytest.raises(UnsafeDatabaseRole, match=said):
            await _check(world)
    finally:
        world.do("ALTER DATABASE {name} OWNER TO CURRENT_USER", name=world.database)


class Recorded(psycopg.AsyncCursor[Any]):
    asked: ClassVar[list[Any]] = []

    async def execute(self, query, *given, **options):
        self.asked.append(query)
        return await super().execute(query, *given, **options)


async def test_a_look_at_the_login_does_not_read_every_tenants_tables(world):
    async with await psycopg.AsyncConnection.connect(world.app) as conn:
        Recorded.asked.clear()
        conn.cursor_factory = Recorded
        await check_login(conn)
        conn.cursor_factory = psycopg.AsyncCursor
        # A pg_class as small as this one would be read whole even where there is an index.
        await conn.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off")
        asked = [SQL("EXPLAIN (FORMAT JSON) {}").format(SQL(each)) for each in Recorded.asked]
        plans = [found for each in asked for found in await (await conn.execute(each)).fetchall()]
    nodes = [node for ((found,),) in plans for node in _nodes(found["Plan"])]
    looked = [node.get("Index Name") for node in nodes if node.get("Relation Name") == "pg_class"]
    assert looked == ["pg_class_oid_index"]


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


async def test_all_faults_are_named_at_once(world):
    world.do("ALTER ROLE {login} BYPASSRLS INHERIT", login=world.login)
    with pytest.raises(UnsafeDatabaseRole, match=r"powers over all.*NOINHERIT"):
        await _check(world)


async def test_the_installations_own_login_passes_and_its_registry_fits(database):
    tenant_id = uuid4()
    with psycopg.connect(database.control_url) as conn:
        conn.execute(
            "INSERT INTO public.tenants (id, name, subdomain, state, tier, admin_email)"
            " VALUES (%s, 'Acme', 'acme', 'provisioning', 'starter', 'ada@acme.test')",
            [tenant_id],
        )
    async with AsyncConnectionPool(database.app_url, min_size=1, open=False) as pool:
        async with pool.connection() as conn:
            assert await check_login(conn) == []
        assert await TenantDirectory(pool).lookup("acme") == RoutedTenant(
            tenant_id, "acme", "Acme", TenantState.PROVISIONING, "starter", None
        )
