"""Directories that share a cache ask PostgreSQL less, and believe nothing that is over."""

import asyncio
from contextlib import suppress
from uuid import uuid4

import psycopg
import pytest

from controlplane.domain.tenants import TenantState
from controlplane.routing import Ages, RoutedTenant, TenantDirectory
from controlplane.routing.cache import CacheUnavailable, MemoryCache
from controlplane.routing.registry import Registry
from controlplane.routing.second_level import SharedAges
from controlplane.routing.shared import SharedAnswer, packed, unpacked
from tests.integration.routing.lent import CountedPool

pytestmark = pytest.mark.anyio

# One that asks for changes before each answer, and one that does not within a test.
EAGER = Ages(fresh_s=0)
LAZY = Ages(fresh_s=3600)
SUSPEND = "UPDATE public.tenants SET state = 'suspended' WHERE subdomain = 'acme'"


class GatedCache(MemoryCache):
    """Writes wait while the gate is closed."""

    def __init__(self):
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.writing = asyncio.Event()
        self.got = 0

    async def get(self, key):
        self.got += 1
        return await super().get(key)

    async def set(self, key, value, *, ttl_s):
        self.writing.set()
        await self.gate.wait()
        await super().set(key, value, ttl_s=ttl_s)


class AbsentCache:
    async def get(self, key):
        raise CacheUnavailable(key)

    async def set(self, key, value, *, ttl_s):
        raise CacheUnavailable(key, value, ttl_s)

    async def delete(self, *keys):
        raise CacheUnavailable(keys)

    async def delete_prefix(self, prefix):
        raise CacheUnavailable(prefix)

    async def announce(self, subdomains):
        raise CacheUnavailable(subdomains)


@pytest.fixture
def cache(world):
    # While a test elsewhere on this server has an older transaction open, nothing that was written
    # could be told from before the tenants were made.
    world.do("DELETE FROM public.tenant_changes")
    return GatedCache()


@pytest.fixture
def counted(pool):
    return CountedPool(pool)


async def _state(directory, subdomain="acme"):
    found = await directory.lookup(subdomain)
    return None if found is None else found.state


async def _quiet(directory):
    """Once its hints are out."""
    while directory._telling:  # noqa: SLF001  hints are nobody's to wait for but a test's
        await asyncio.gather(*directory._telling)  # noqa: SLF001


async def test_what_one_has_asked_the_others_need_not_ask(pool, counted, cache, world):
    first = TenantDirectory(pool, ages=LAZY, shared=cache)
    second = TenantDirectory(counted, ages=LAZY, shared=cache)
    for directory in (first, second):
        assert await directory.lookup("acme") == world.acme
        assert await directory.lookup("globex") == world.globex
        assert await directory.lookup("nobody") is None
    # Where the registry stands, and once what has changed since the answers were given.
    assert counted.lent == 2


async def test_many_who_ask_at_once_are_one_question_each_way(counted, cache, world):
    directory = TenantDirectory(counted, ages=LAZY, shared=cache)
    counted.gate.clear()
    asking = [asyncio.create_task(directory.lookup("acme")) for _ in range(200)]
    await counted.borrowing.wait()
    counted.gate.set()
    assert set(await asyncio.gather(*asking)) == {world.acme}
    assert (counted.lent, cache.got) == (1 + 1, 1)


@pytest.mark.parametrize("ages", [EAGER, LAZY])
async def test_a_write_that_is_overtaken_by_a_change_is_believed_by_nobody(
    pool, cache, world, ages
):
    """A row is read, its tenant is suspended and forgotten by all, the row is written."""
    slow = TenantDirectory(pool, ages=LAZY, shared=cache)
    other = TenantDirectory(pool, ages=ages, shared=cache)
    await other.lookup("globex")
    cache.writing.clear()
    cache.gate.clear()
    writing = asyncio.create_task(slow.lookup("acme"))
    await cache.writing.wait()
    world.do(SUSPEND)
    other.forget(["acme"])
    assert await cache.get("tenant:acme") is None
    cache.gate.set()
    assert await writing == world.acme
    kept = unpacked(await cache.get("tenant:acme"))
    assert kept is not None
    assert kept.tenant == world.acme
    assert await _state(other) is TenantState.SUSPENDED
    assert await _state(TenantDirectory(pool, ages=ages, shared=cache)) is TenantState.SUSPENDED


async def test_a_change_that_was_under_way_speaks_against_what_was_written_meanwhile(
    pool, cache, world
):
    async with await psycopg.AsyncConnection.connect(world.admin) as slow:
        await slow.execute(SUSPEND)
        assert await _state(TenantDirectory(pool, shared=cache)) is TenantState.ACTIVE
        before = TenantDirectory(pool, ages=EAGER, shared=cache)
        assert await _state(before) is TenantState.ACTIVE
    assert await _state(TenantDirectory(pool, ages=LAZY, shared=cache)) is TenantState.SUSPENDED
    assert await _state(before) is TenantState.SUSPENDED


async def test_what_is_asked_after_a_change_is_shared_again(pool, counted, cache, world):
    """Once every transaction that ran with the change has ended: others run on this server."""
    writer = TenantDirectory(pool, ages=EAGER, shared=cache)
    await writer.lookup("acme")
    world.do(SUSPEND)
    async with asyncio.timeout(60):
        while True:
            assert await _state(writer) is TenantState.SUSPENDED
            await _quiet(writer)
            reader = TenantDirectory(counted, ages=LAZY, shared=cache)
            lent = counted.lent
            assert await _state(reader) is TenantState.SUSPENDED
            if counted.lent == lent + 2 and await cache.get("tenant:acme") is not None:
                break
            writer.forget()


async def test_who_was_told_of_a_change_believes_nothing_written_before(pool, cache, world):
    writer, told = (TenantDirectory(pool, ages=LAZY, shared=cache) for _ in range(2))
    for directory in (writer, told):
        assert await _state(directory) is TenantState.ACTIVE
    world.do(SUSPEND)
    told.forget(["acme"])
    assert await _state(told) is TenantState.SUSPENDED


async def test_a_free_name_is_shared_until_somebody_has_it(pool, counted, cache, world):
    await TenantDirectory(pool, ages=LAZY, shared=cache).lookup("initech")
    directory = TenantDirectory(counted, ages=EAGER, shared=cache)
    assert await directory.lookup("initech") is None
    added = world.add("initech", "active")
    assert await directory.lookup("initech") == added


async def test_that_a_tenant_is_being_set_up_is_not_shared(pool, cache, world):
    world.add("initech", "provisioning")
    directory = TenantDirectory(pool, ages=LAZY, shared=cache)
    assert await _state(directory, "initech") is TenantState.PROVISIONING
    assert await cache.get("tenant:initech") is None


async def test_whoever_learns_of_a_change_tells_the_others(pool, cache, world):
    learns = TenantDirectory(pool, ages=EAGER, shared=cache)
    hears = TenantDirectory(pool, ages=LAZY, shared=cache)
    cache.followers.append(hears.forget)
    for directory in (learns, hears):
        await directory.lookup("acme")
    world.do(SUSPEND)
    await learns.lookup("globex")
    await _quiet(learns)
    assert await cache.get("tenant:acme") is None
    assert await _state(hears) is TenantState.SUSPENDED


async def test_a_cache_that_is_away_is_as_none(pool, world):
    directory = TenantDirectory(pool, ages=EAGER, shared=AbsentCache())
    assert await directory.lookup("acme") == world.acme
    world.do(SUSPEND)
    assert await _state(directory) is TenantState.SUSPENDED
    directory.tell(["acme"])
    await _quiet(directory)
    assert await directory.lookup("nobody") is None


async def test_rubbish_under_a_tenants_name_is_not_believed(pool, cache, world):
    told = await Registry(pool).changes(None)

    def answer(tenant, *, subdomain="acme", horizon=told.horizon, server=told.server, at=told.at):
        return packed(SharedAnswer(subdomain, tenant, horizon, server, at))

    stranger = RoutedTenant(uuid4(), "acme", "A", TenantState.ACTIVE, "starter", "abc")
    assert await _after(pool, cache, answer(stranger)) == stranger, "else this proves nothing"
    for rubbish in (
        b"",
        b"\x80garbage",
        answer(world.globex, subdomain="globex"),
        answer(stranger, server="1.5/5"),
        answer(stranger, horizon=told.horizon + 2**40),
        answer(stranger, at=told.at + 3600),
        answer(stranger, at=told.at - 3600),
        answer(None, at=told.at - 60),
        answer(stranger).replace(b'"version": 1', b'"version": 2'),
    ):
        assert await _after(pool, cache, rubbish) == world.acme
        kept = unpacked(await cache.get("tenant:acme"))
        assert kept is not None
        assert kept.tenant == world.acme


async def _after(pool, cache, payload):
    await cache.set("tenant:acme", payload, ttl_s=600)
    return await TenantDirectory(pool, ages=LAZY, shared=cache).lookup("acme")


async def test_an_answer_is_shared_no_longer_than_its_time(pool, counted, cache, world):
    ages = SharedAges(ttl_s=0, negative_ttl_s=0)
    await TenantDirectory(pool, ages=LAZY, shared=cache, shared_ages=ages).lookup("acme")
    directory = TenantDirectory(counted, ages=LAZY, shared=cache)
    assert await directory.lookup("acme") == world.acme
    assert counted.lent == 2


async def test_one_who_goes_away_takes_no_others_answer_along(pool, cache, world):
    directory = TenantDirectory(pool, ages=LAZY, shared=cache)
    cache.gate.clear()
    first, second = (asyncio.create_task(directory.lookup("acme")) for _ in range(2))
    await cache.writing.wait()
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    cache.gate.set()
    assert await second == world.acme
