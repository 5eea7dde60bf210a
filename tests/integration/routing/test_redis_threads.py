"""The directory for threads shares the same Redis, and does without it as well."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import monotonic
from typing import Any

import pytest
from psycopg_pool import ConnectionPool
from redis import Redis

from controlplane.domain.tenants import TenantState
from controlplane.routing import Ages, SyncTenantDirectory, TenantDirectory
from controlplane.routing.cache import CacheUnavailable
from controlplane.routing.redis_cache import RedisCache
from controlplane.routing.redis_sync import SyncRedisCache, listen_redis_sync

pytestmark = pytest.mark.requires("redis-server")

EAGER = Ages(fresh_s=0)
LAZY = Ages(fresh_s=3600)
SUSPEND = "UPDATE public.tenants SET state = 'suspended' WHERE subdomain = 'acme'"
PATIENT: dict[str, Any] = {"installation": "ours", "timeout_s": 30.0, "pause_s": 0.0}
HASTY: dict[str, Any] = {"installation": "ours", "timeout_s": 0.05, "pause_s": 0.0}


class CountedPool:
    def __init__(self, pool):
        self._pool = pool
        self.lent = 0

    @contextmanager
    def connection(self):
        self.lent += 1
        with self._pool.connection() as conn:
            yield conn


@pytest.fixture
def threads_pool(world, redis):
    # What another test has left there is gone, and nothing speaks against what is written.
    redis.stop()
    redis.start()
    world.do("DELETE FROM public.tenant_changes")
    with ConnectionPool(world.app, min_size=1, max_size=1) as pool:
        yield CountedPool(pool)


@contextmanager
def _listening(redis, cache, directory):
    stop = threading.Event()
    thread = threading.Thread(target=listen_redis_sync, args=(cache, directory, stop))
    thread.start()
    try:
        with Redis.from_url(redis.url) as client:
            _until(lambda: client.publish("controlplane:ours:changes", "") == 1)
        yield
    finally:
        stop.set()
        thread.join()


def _until(holds):
    deadline = monotonic() + 60
    while not holds():
        assert monotonic() < deadline
        threading.Event().wait(0.01)


def _suspended(directory):
    found = directory.lookup("acme")
    assert found is not None
    return found.state is TenantState.SUSPENDED


@pytest.mark.anyio
async def test_threads_read_what_tasks_have_written(pool, threads_pool, redis, world):
    async with RedisCache(redis.url, **PATIENT) as theirs:
        writer = TenantDirectory(pool, ages=LAZY, shared=theirs)
        for name in ("acme", "globex", "nobody"):
            await writer.lookup(name)
    with SyncRedisCache(redis.url, **PATIENT) as ours:
        directory = SyncTenantDirectory(threads_pool, ages=LAZY, shared=ours)
        assert directory.lookup("acme") == world.acme
        assert directory.lookup("globex") == world.globex
        assert directory.lookup("nobody") is None
    # Where the registry stands, and once what has changed since the answers were given.
    assert threads_pool.lent == 2


def test_what_has_changed_since_it_was_written_is_not_believed(threads_pool, redis, world):
    with SyncRedisCache(redis.url, **PATIENT) as cache:
        before = SyncTenantDirectory(threads_pool, ages=EAGER, shared=cache)
        told = SyncTenantDirectory(threads_pool, ages=LAZY, shared=cache)
        for directory in (before, told):
            assert not _suspended(directory)
        kept = cache.get("tenant:acme")
        assert kept is not None
        world.do(SUSPEND)
        told.forget(["acme"])
        assert _suspended(told)
        cache.set("tenant:acme", kept, ttl_s=600)
        assert _suspended(before)
        cache.set("tenant:acme", kept, ttl_s=600)
        assert _suspended(SyncTenantDirectory(threads_pool, ages=LAZY, shared=cache))


def test_many_who_ask_at_once_are_one_question(threads_pool, redis, world):
    with SyncRedisCache(redis.url, **PATIENT) as cache, ThreadPoolExecutor(16) as threads:
        directory = SyncTenantDirectory(threads_pool, ages=LAZY, shared=cache)
        asking = [threads.submit(directory.lookup, "acme") for _ in range(200)]
        assert {found.result() for found in asking} == {world.acme}
    assert threads_pool.lent == 1 + 1


def test_a_change_is_heard_and_what_was_missed_is_not_believed(threads_pool, redis, world):
    with SyncRedisCache(redis.url, **PATIENT) as mine, SyncRedisCache(redis.url, **PATIENT) as its:
        hears = SyncTenantDirectory(threads_pool, ages=LAZY, shared=its)
        learns = SyncTenantDirectory(threads_pool, ages=EAGER, shared=mine)
        with _listening(redis, its, hears):
            for directory in (hears, learns):
                assert not _suspended(directory)
            world.do(SUSPEND)
            assert _suspended(learns)
            _until(lambda: _suspended(hears))
            world.do("UPDATE public.tenants SET state = 'active' WHERE subdomain = 'acme'")
            redis.stop()
            redis.start()
            _until(lambda: not _suspended(hears))


def test_redis_that_comes_and_goes_makes_no_request_fail(threads_pool, redis, world):
    with SyncRedisCache(redis.url, **HASTY) as cache, ThreadPoolExecutor(4) as threads:
        directory = SyncTenantDirectory(threads_pool, ages=EAGER, shared=cache)
        asked, done = threading.Semaphore(0), threading.Event()

        def ask_on():
            while not done.is_set():
                asked.release()
                directory.forget()
                assert directory.lookup("acme") == world.acme
                assert directory.lookup("globex") == world.globex
                assert directory.lookup("nobody") is None

        asking = [threads.submit(ask_on) for _ in range(4)]
        try:
            for disturb in (redis.stop, redis.start, redis.freeze, redis.thaw):
                disturb()
                for _ in range(20):
                    assert asked.acquire(timeout=60)
        finally:
            done.set()
        for each in asking:
            each.result()


def test_what_was_let_go_of_connects_no_more(redis):
    with SyncRedisCache(redis.url, **PATIENT) as cache:
        cache.close()
        with pytest.raises(CacheUnavailable):
            cache.get("a")
        with pytest.raises(CacheUnavailable):
            next(cache.heard(threading.Event()))
