"""No tenant ever sees another's rows, and no connection is lent with anything left in it."""

import asyncio
import contextlib
import itertools
import random
from functools import partial

import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool

from controlplane.routing import Ages, TenantDirectory
from controlplane.routing.cache import CacheUnavailable
from controlplane.routing.redis_cache import RedisCache
from controlplane.routing.redis_hints import listen_redis
from controlplane.testing import Fault, assert_no_leak, look_for_leaks
from controlplane.testing.ground import Installation, Neighbours, neighbours
from tests.integration.routing.notes_app import ASKS, NOTES, create_app
from tests.integration.routing.own_domains import add_domain, run
from tests.integration.routing.unrest import AWAY, meanwhile, stir

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(1800)]

NAMES = [f"tenant-{number}" for number in range(50)]


class HalfOwnDomains(Neighbours):
    """Every second tenant is asked at a domain of its own."""

    def host(self, tenant):
        own = f"{tenant.subdomain}.own.test"
        return own if self.tenants.index(tenant) % 2 == 0 else super().host(tenant)


@pytest.fixture
def fifty(database):
    login = str(conninfo_to_dict(database.app_url)["user"])
    place = Installation(database.superuser_url, database.owner_url, database.app_url, login)
    with neighbours(place, NOTES, names=NAMES) as made:
        for tenant in made.tenants[::2]:
            add_domain(made.superuser_url, tenant.id, f"{tenant.subdomain}.own.test")
        yield HalfOwnDomains(made.app_url, made.superuser_url, made.tenants)
        run(made.superuser_url, "DELETE FROM public.tenant_domains")


@pytest.fixture
def size(request, server):
    """Requests each way: what fits into every run, or what the option says."""
    return request.config.getoption("--leaks") // (1 if server.version == 18 else 2)


@pytest.mark.database_near
async def test_fifty_tenants_share_one_connection_and_nothing_else(fifty, size):
    summaries = await assert_no_leak(create_app, neighbours=fifty, asks=ASKS, requests=size)
    for summary in summaries:
        assert (summary.tenants, summary.requests) == (50, size)
        assert summary.answered > size / 3
        assert set(summary.faults) == set(Fault)


async def test_a_directory_that_changes_under_load_sends_nobody_to_another_tenant(fifty, size):
    async with meanwhile(stir(fifty)):
        summaries = await assert_no_leak(
            create_app, neighbours=fifty, asks=ASKS, requests=size // 4, refusals=AWAY
        )
    assert all(summary.answered > size / 40 for summary in summaries)


async def _comes_and_goes(redis):
    """Redis is killed, started and frozen, all the time."""
    while True:
        for disturb, for_s in (
            (redis.stop, 0.05),
            (redis.start, 0.3),
            (redis.freeze, 0.15),
            (redis.thaw, 0.3),
        ):
            doing = asyncio.create_task(asyncio.to_thread(disturb))
            try:
                await asyncio.shield(doing)
            finally:
                # Cancelled or not: nobody else may begin while a thread is at it.
                await asyncio.wait([doing])
            await asyncio.sleep(for_s)


async def _forgets(directory, cache):
    """What is remembered goes all the time, and at times some of what is shared."""
    for number in itertools.count():
        directory._known.clear()  # noqa: SLF001  forget() would have it distrust what is shared
        await asyncio.sleep(0.01)
        if number % 50 == 0:
            directory.forget()
            with contextlib.suppress(CacheUnavailable):
                await cache.delete_prefix("tenant:tenant-1")


class CountedCache(RedisCache):
    found = 0

    async def get(self, key):
        value = await super().get(key)
        self.found += value is not None
        return value


async def _replica(directory, names):
    """Asks for tenants as another process does, and writes down what it is told."""
    draw = random.Random(1)  # noqa: S311  no secret
    while True:
        await directory.lookup(draw.choice(names))
        await asyncio.sleep(0.002)


async def test_a_redis_that_comes_and_goes_under_load_sends_nobody_to_another_tenant(
    fifty, request, redis
):
    asked = request.config.getoption("--leaks")
    cache = partial(CountedCache, redis.url, installation="leaks", pause_s=0.05)
    async with (
        cache() as ours,
        cache() as theirs,
        AsyncConnectionPool(fifty.app_url, min_size=1, max_size=1, open=False) as other,
    ):
        directory = TenantDirectory(other, timeout_s=60, shared=ours)
        replica = TenantDirectory(other, timeout_s=60, ages=Ages(ttl_s=0.05), shared=theirs)
        async with meanwhile(
            stir(fifty),
            _comes_and_goes(redis),
            _forgets(directory, ours),
            _replica(replica, NAMES),
            listen_redis(ours, directory),
        ):
            found = await look_for_leaks(
                partial(create_app, directory=directory),
                neighbours=fifty,
                asks=ASKS,
                requests=asked if asked > 1_000 else 600,
                refusals=AWAY,
                way="through a Redis that is killed, frozen and emptied",
            )
    print(found)  # noqa: T201  what the test is run for
    assert found.clean, [str(found), *found.finds]
    assert found.answered > found.requests / 10
    assert ours.found > 0, "else this proves nothing"
