"""The directory remembers, asks once for many, and is never far behind the registry."""

import asyncio

import psycopg
import pytest

from controlplane.domain.tenants import TenantState
from controlplane.errors import TenantUnavailable
from controlplane.routing import TenantDirectory
from controlplane.routing.known import Ages
from tests.integration.routing.lent import CountedPool

pytestmark = pytest.mark.anyio

# One that asks for changes before each answer, and one that does not within a test.
EAGER = Ages(fresh_s=0)
LAZY = Ages(fresh_s=3600)


@pytest.fixture
def counted(pool):
    return CountedPool(pool)


async def test_what_was_asked_once_is_remembered(counted, world):
    directory = TenantDirectory(counted, ages=LAZY)
    for _ in range(3):
        assert await directory.lookup("acme") == world.acme
        assert await directory.lookup("globex") == world.globex
        assert await directory.lookup("nobody") is None
    assert counted.lent == 1 + 3


@pytest.mark.parametrize("state", list(TenantState))
async def test_a_change_is_seen_once_the_registry_was_asked_for_changes(counted, world, state):
    directory = TenantDirectory(counted, ages=EAGER)
    assert await directory.lookup("acme") == world.acme
    world.do(f"UPDATE public.tenants SET state = '{state}' WHERE subdomain = 'acme'")  # noqa: S608  a constant
    found = await directory.lookup("acme")
    assert found is not None
    assert found.state is state
    assert await directory.lookup("globex") == world.globex


async def test_a_name_that_changes_hands_is_seen_on_both_sides(pool, world):
    directory = TenantDirectory(pool, ages=EAGER)
    assert await directory.lookup("acme") == world.acme
    assert await directory.lookup("initech") is None
    world.do("UPDATE public.tenants SET subdomain = 'initech' WHERE subdomain = 'acme'")
    assert await directory.lookup("acme") is None
    found = await directory.lookup("initech")
    assert found is not None
    assert found.id == world.acme.id


async def test_a_new_tenant_is_seen_though_its_name_was_known_to_be_free(pool, world):
    directory = TenantDirectory(pool, ages=EAGER)
    assert await directory.lookup("initech") is None
    added = world.add("initech", "active")
    assert await directory.lookup("initech") == added


async def test_many_who_ask_at_once_are_one_query(counted, world):
    directory = TenantDirectory(counted, ages=LAZY)
    counted.gate.clear()
    asking = [asyncio.create_task(directory.lookup("acme")) for _ in range(200)]
    await counted.borrowing.wait()
    counted.gate.set()
    assert set(await asyncio.gather(*asking)) == {world.acme}
    assert counted.lent == 1 + 1


async def test_one_who_goes_away_takes_no_others_answer_along(counted, world):
    directory = TenantDirectory(counted, ages=LAZY)
    await directory.lookup("globex")
    counted.gate.clear()
    first, second = (asyncio.create_task(directory.lookup("acme")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    counted.gate.set()
    assert await second == world.acme
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_an_answer_older_than_a_change_is_not_kept(counted, world):
    """It was under way when the change was told."""
    directory = TenantDirectory(counted, ages=LAZY)
    await directory.lookup("globex")
    counted.gate.clear()
    early = asyncio.create_task(directory.lookup("acme"))
    await asyncio.sleep(0)
    directory.forget(["acme"])
    counted.gate.set()
    assert await early == world.acme
    lent = counted.lent
    assert await directory.lookup("acme") == world.acme
    assert counted.lent == lent + 1


async def test_nothing_is_believed_of_a_registry_that_cannot_be_asked(pool, world):
    directory = TenantDirectory(pool, timeout_s=2, ages=EAGER)
    assert await directory.lookup("acme") == world.acme
    async with await psycopg.AsyncConnection.connect(world.admin) as blocker:
        await blocker.execute("LOCK TABLE public.tenant_changes IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(TenantUnavailable):
            await directory.lookup("acme")
    assert await directory.lookup("acme") == world.acme


async def test_while_the_registry_is_being_asked_the_others_are_answered(counted, world):
    directory = TenantDirectory(counted, ages=Ages(fresh_s=60))
    await directory.lookup("acme")
    clock = directory._known._contact  # noqa: SLF001  as if a minute had passed
    directory._known._contact = clock - 61  # noqa: SLF001
    counted.gate.clear()
    first = asyncio.create_task(directory.lookup("acme"))
    await asyncio.sleep(0)
    assert await directory.lookup("acme") == world.acme
    assert not first.done()
    counted.gate.set()
    assert await first == world.acme


async def test_an_error_is_not_remembered(counted, world):
    directory = TenantDirectory(counted, ages=LAZY)
    world.do("UPDATE public.tenants SET state = 'teleporting' WHERE subdomain = 'acme'")
    with pytest.raises(TenantUnavailable, match="teleporting"):
        await directory.lookup("acme")
    world.do("UPDATE public.tenants SET state = 'active' WHERE subdomain = 'acme'")
    assert await directory.lookup("acme") == world.acme


async def test_an_id_is_found_and_follows_its_tenant(counted, world):
    directory = TenantDirectory(counted, ages=EAGER)
    assert await directory.identify(world.acme.id) == world.acme
    world.do("UPDATE public.tenants SET subdomain = 'initech' WHERE subdomain = 'acme'")
    found = await directory.identify(world.acme.id)
    assert found is not None
    assert found.subdomain == "initech"
    assert await directory.identify(world.globex.id) == world.globex
    world.do("DELETE FROM public.tenants")
    assert await directory.identify(world.acme.id) is None
