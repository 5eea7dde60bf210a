"""Redis may go, hang, lie and forget: the directory answers as without it."""

import asyncio
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial

import pytest
from redis.asyncio import Redis

from controlplane.domain.tenants import TenantState
from controlplane.routing import Ages, TenantDirectory
from controlplane.routing.cache import CacheUnavailable
from controlplane.routing.redis_cache import RedisCache
from controlplane.routing.redis_hints import listen_redis
from tests.integration.routing.lent import CountedPool
from tests.redis import HASTY, PATIENT

pytestmark = [pytest.mark.anyio, pytest.mark.requires("redis-server")]

EAGER = Ages(fresh_s=0)
LAZY = Ages(fresh_s=3600)
SUSPEND = "UPDATE public.tenants SET state = 'suspended' WHERE subdomain = 'acme'"


@pytest.fixture
def share(redis):
    """Opens what a process has of Redis; nothing is there at first."""

    @asynccontextmanager
    async def opened(url=redis.url, **times):
        async with RedisCache(url, installation="ours", **(times or PATIENT)) as cache:
            yield cache

    redis.stop()
    redis.start()
    return opened


@asynccontextmanager
async def _listening(redis, cache, directory):
    task = asyncio.create_task(listen_redis(cache, directory))
    try:
        async with Redis.from_url(redis.url) as client:
            await _until(partial(_heard_by_one, client))
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _heard_by_one(client):
    return await client.publish("controlplane:ours:changes", "") == 1


async def _until(holds):
    async with asyncio.timeout(60):
        while not await holds():  # noqa: ASYNC110  the condition is another process's
            await asyncio.sleep(0.01)


async def _suspended(directory):
    found = await directory.lookup("acme")
    assert found is not None
    return found.state is TenantState.SUSPENDED


async def test_what_one_process_has_asked_the_others_need_not_ask(pool, share, world):
    # While a test elsewhere has an older transaction open, nobody could tell that it stands.
    world.do("DELETE FROM public.tenant_changes")
    counted = CountedPool(pool)
    async with share() as mine, share() as theirs:
        for used, cache in ((pool, mine), (counted, theirs)):
            directory = TenantDirectory(used, ages=LAZY, shared=cache)
            assert await directory.lookup("acme") == world.acme
            assert await directory.lookup("globex") == world.globex
            assert await directory.lookup("nobody") is None
    assert counted.lent == 2


async def test_a_change_is_heard_by_a_directory_that_does_not_ask(pool, share, redis, world):
    async with share() as mine, share() as theirs:
        hears = TenantDirectory(pool, ages=LAZY, shared=theirs)
        async with _listening(redis, theirs, hears):
            assert not await _suspended(hears)
            world.do(SUSPEND)
            TenantDirectory(pool, shared=mine).tell(["acme"])
            await _until(partial(_suspended, hears))


async def test_what_was_missed_while_redis_was_away_is_not_believed_afterwards(
    pool, share, redis, world
):
    async with share() as cache:
        directory = TenantDirectory(pool, ages=LAZY, shared=cache)
        async with _listening(redis, cache, directory):
            assert not await _suspended(directory)
            world.do(SUSPEND)
            assert not await _suspended(directory)
            redis.stop()
            redis.start()
            await _until(partial(_suspended, directory))


async def test_a_message_that_is_lost_is_made_up_for_by_the_registry(pool, share, redis, world):
    async with share(**HASTY) as cache:
        directory = TenantDirectory(pool, ages=EAGER, shared=cache)
        async with _listening(redis, cache, directory):
            assert not await _suspended(directory)
            redis.freeze()
            try:
                world.do(SUSPEND)
                assert await _suspended(directory)
            finally:
                redis.thaw()


async def test_redis_that_comes_and_goes_makes_no_request_fail(pool, share, redis, world):
    async with share(**HASTY) as cache:
        directory = TenantDirectory(pool, ages=EAGER, shared=cache)

        async def ask_on():
            while not done.is_set():
                asked.release()
                directory.forget()
                assert await directory.lookup("acme") == world.acme
                assert await directory.lookup("globex") == world.globex
                assert await directory.lookup("nobody") is None

        asked, done = asyncio.Semaphore(0), asyncio.Event()
        async with asyncio.timeout(90), asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(ask_on())
            for disturb in (redis.stop, redis.start, redis.freeze, redis.thaw) * 2:
                await asyncio.to_thread(disturb)
                for _ in range(20):
                    await asked.acquire()
            done.set()


async def test_after_a_failure_redis_is_left_alone_for_a_while(share, redis):
    async with share(timeout_s=0.05, pause_s=3600.0) as cache, share() as other:
        await other.set("a", b"a", ttl_s=600)
        redis.freeze()
        try:
            with pytest.raises(CacheUnavailable, match="does not answer"):
                await cache.get("a")
        finally:
            redis.thaw()
        assert await other.get("a") == b"a"
        for call in (cache.get("a"), cache.delete("a"), cache.announce(["a"])):
            with pytest.raises(CacheUnavailable, match="did not answer lately"):
                await call


async def test_an_answer_that_comes_too_late_is_nobody_elses(share, redis):
    names = [f"name-{number}" for number in range(40)]
    async with share() as writer, share(**HASTY) as cache:
        for name in names:
            await writer.set(name, name.encode(), ttl_s=600)
        for _ in range(3):
            redis.freeze()
            found = await asyncio.gather(*map(cache.get, names), return_exceptions=True)
            assert any(isinstance(answer, CacheUnavailable) for answer in found)
            redis.thaw()
            for name in names:
                with suppress(CacheUnavailable):
                    assert await cache.get(name) == name.encode()


async def test_somebody_elses_kind_of_key_is_none_and_is_overwritten(share, redis):
    async with share() as cache, Redis.from_url(redis.url) as plain:
        for make in (plain.lpush, plain.sadd):
            await make("controlplane:ours:tenant:acme", "x")
            assert await cache.get("tenant:acme") is None
            await cache.set("tenant:acme", b"mine", ttl_s=600)
            assert await cache.get("tenant:acme") == b"mine"
            await plain.delete("controlplane:ours:tenant:acme")


async def test_redis_that_lets_nobody_in_is_unavailable(share, redis):
    for url in (redis.url.replace(redis.password, "wrong"), "redis://127.0.0.1:1"):
        async with share(url, timeout_s=5.0, pause_s=0.0) as cache:
            with pytest.raises(CacheUnavailable):
                await cache.get("a")


async def test_a_socket_will_do(share, redis):
    async with share(redis.unix_url, **PATIENT) as cache:
        await cache.set("a", b"a", ttl_s=600)
        assert await cache.get("a") == b"a"


async def test_what_was_let_go_of_connects_no_more(share):
    async with share() as cache:
        await cache.aclose()
        with pytest.raises(CacheUnavailable):
            await cache.get("a")
        with pytest.raises(CacheUnavailable):
            await anext(cache.heard())


async def test_who_listens_stops_when_he_is_told_however_far_he_has_come(pool, share):
    async with share() as cache:
        for number in range(80):
            listening = asyncio.create_task(listen_redis(cache, TenantDirectory(pool)))
            await asyncio.sleep(number * 5e-5)
            listening.cancel()
            await asyncio.wait([listening], timeout=60)
            assert listening.cancelled(), number


async def test_a_cancel_while_it_is_subscribed_is_heeded(share):
    """The client swallows one that comes just when the command has been sent."""
    async with share() as cache:
        for turns in range(40):
            # A connection that is there: up to the answer nothing but turns of the loop passes.
            await cache.get("a")
            async with aclosing(cache.heard()) as heard:
                task = asyncio.ensure_future(anext(heard))
                for _ in range(turns):
                    await asyncio.sleep(0)
                at_work = not task.done()
                task.cancel()
                await asyncio.wait([task], timeout=60)
                assert task.cancelled() == at_work, turns
