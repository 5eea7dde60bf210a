import asyncio

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool

from controlplane.domain.tenants import TenantState
from controlplane.errors import TenantUnavailable
from controlplane.routing.registry import Registry

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


async def test_a_subdomain_is_found_with_all_that_routing_knows_of_it(pool, world):
    assert await Registry(pool).lookup("acme") == world.acme
    assert await Registry(pool).lookup("globex") == world.globex


@pytest.mark.parametrize(
    "subdomain", ["nobody", "", "ACME", "acme ", "ac%", "' OR '1'='1", "'; DROP VIEW x; --", "é"]
)
async def test_nobody_else_is_found(pool, subdomain):
    assert await Registry(pool).lookup(subdomain) is None


async def test_every_state_is_told_and_a_change_is_seen_at_once(pool, world):
    registry = Registry(pool)
    for state in TenantState:
        world.do(f"UPDATE public.tenants SET state = '{state}' WHERE subdomain = 'acme'")  # noqa: S608  a constant
        found = await registry.lookup("acme")
        assert found is not None
        assert found.state is state


async def test_a_tenant_without_a_schema_yet_has_no_revision(pool, world):
    world.do("UPDATE public.tenants SET revision = NULL")
    found = await Registry(pool).lookup("acme")
    assert found is not None
    assert found.revision is None


async def test_a_state_that_this_version_does_not_know_is_not_served(pool, world):
    world.do("UPDATE public.tenants SET state = 'teleporting'")
    with pytest.raises(TenantUnavailable, match="teleporting"):
        await Registry(pool).lookup("acme")


async def test_a_tier_that_this_version_does_not_know_is_served(pool, world):
    world.do("UPDATE public.tenants SET tier = 'galactic'")
    found = await Registry(pool).lookup("acme")
    assert found is not None
    assert found.tier == "galactic"


@pytest.mark.parametrize("autocommit", [True, False])
async def test_a_lookup_leaves_the_connection_as_it_was(world, autocommit):
    async with AsyncConnectionPool(
        world.app, kwargs={"autocommit": autocommit}, min_size=1, max_size=1, open=False
    ) as pool:
        assert await Registry(pool).lookup("acme") == world.acme
        async with pool.connection() as conn:
            assert conn.autocommit is autocommit
            assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


async def test_the_app_servers_login_reads_the_view_and_nothing_else(pool):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with pool.connection() as conn:
            await conn.execute("SELECT * FROM public.tenants")


async def test_a_registry_that_may_not_be_read_makes_tenants_unavailable(pool, world):
    world.do("REVOKE SELECT ON public.tenant_registry FROM {login}", login=world.login)
    with pytest.raises(TenantUnavailable):
        await Registry(pool).lookup("acme")


async def test_a_registry_that_does_not_answer_in_time_makes_tenants_unavailable(pool, world):
    async with await psycopg.AsyncConnection.connect(world.admin) as blocker:
        await blocker.execute("LOCK TABLE public.tenants IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(TenantUnavailable):
            await Registry(pool, timeout_s=0.05).lookup("acme")
    assert await Registry(pool).lookup("acme") == world.acme


async def test_a_database_that_cannot_be_reached_makes_tenants_unavailable(world):
    nowhere = make_conninfo(world.app, port=1)
    async with AsyncConnectionPool(
        nowhere, min_size=0, max_size=1, timeout=0.05, open=False
    ) as pool:
        with pytest.raises(TenantUnavailable):
            await Registry(pool).lookup("acme")


async def test_whose_numbers_they_are_and_when_is_told_with_the_changes(pool, world):
    first, second = [await Registry(pool).changes(None) for _ in range(2)]
    assert first.server == second.server
    assert first.at < second.at
    elsewhere = make_conninfo(world.admin, dbname="postgres")
    with psycopg.connect(elsewhere) as conn:
        row = conn.execute("SELECT extract(epoch FROM pg_postmaster_start_time())::text").fetchone()
    assert row is not None
    assert first.server.startswith(f"{row[0]}/")


# Transactions elsewhere on the server hold the horizon back; then something is told of again.
async def test_a_change_is_told_to_whoever_asks_from_where_he_stood(pool, world):
    registry = Registry(pool)
    start = await registry.changes(None)
    assert start.changed == {}
    world.do("UPDATE public.tenants SET state = 'suspended' WHERE subdomain = 'acme'")
    told = await registry.changes(start.horizon)
    assert "acme" in told.changed
    async with asyncio.timeout(60):
        while told.changed:
            told = await registry.changes(told.horizon)


async def test_a_change_of_a_subdomain_tells_of_both(pool, world):
    start = await Registry(pool).changes(None)
    world.do("UPDATE public.tenants SET subdomain = 'initech' WHERE subdomain = 'acme'")
    assert (await Registry(pool).changes(start.horizon)).changed.keys() >= {"acme", "initech"}


async def test_a_change_that_was_under_way_is_told_when_it_is_committed(pool, world):
    """Though it is older than changes that were told before it."""
    registry = Registry(pool)
    start = await registry.changes(None)
    async with await psycopg.AsyncConnection.connect(world.admin) as slow:
        await slow.execute("UPDATE public.tenants SET subdomain = 'initech' WHERE name = 'Acme'")
        world.do("UPDATE public.tenants SET name = 'G' WHERE subdomain = 'globex'")
        early = await registry.changes(start.horizon)
        assert "globex" in early.changed
        assert "initech" not in early.changed
    assert "initech" in (await registry.changes(early.horizon)).changed
