"""Whatever processes share keeps the same promises."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from controlplane.routing.cache import MemoryCache
from controlplane.routing.redis_cache import RedisCache
from controlplane.routing.redis_sync import SyncRedisCache

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def _memory(_request):
    yield MemoryCache()


@asynccontextmanager
async def _redis(request):
    """Beside another installation's keys, which are to stay."""
    server = request.getfixturevalue("redis")
    # The pauses of a machine that does much else are none of Redis's.
    async with (
        RedisCache(server.url, installation="ours", timeout_s=30) as ours,
        RedisCache(server.url, installation="ours-too", timeout_s=30) as theirs,
    ):
        await ours.delete_prefix("")
        await theirs.set("tenant:acme", b"theirs", ttl_s=600)
        yield ours
        assert await theirs.get("tenant:acme") == b"theirs"


class InThreads:
    """A cache for threads, asked from tasks."""

    def __init__(self, cache):
        self._cache = cache

    async def get(self, key):
        return await asyncio.to_thread(self._cache.get, key)

    async def set(self, key, value, *, ttl_s):
        await asyncio.to_thread(self._cache.set, key, value, ttl_s=ttl_s)

    async def delete(self, *keys):
        await asyncio.to_thread(self._cache.delete, *keys)

    async def delete_prefix(self, prefix):
        await asyncio.to_thread(self._cache.delete_prefix, prefix)


@asynccontextmanager
async def _redis_for_threads(request):
    """The same Redis, and the same keys."""
    url = request.getfixturevalue("redis").url
    with SyncRedisCache(url, installation="ours", timeout_s=30) as ours:
        ours.delete_prefix("")
        yield InThreads(ours)


PEERS = [
    pytest.param(_memory, id="memory"),
    pytest.param(_redis, id="redis", marks=pytest.mark.requires("redis-server")),
    pytest.param(
        _redis_for_threads, id="redis, threads", marks=pytest.mark.requires("redis-server")
    ),
]


@pytest.fixture(params=PEERS)
async def cache(request):
    async with request.param(request) as opened:
        yield opened


async def test_what_was_set_is_got_and_nothing_else(cache):
    await cache.set("tenant:acme", b"\x00\xff acme", ttl_s=600)
    await cache.set("tenant:globex", b"", ttl_s=600)
    assert await cache.get("tenant:acme") == b"\x00\xff acme"
    assert await cache.get("tenant:globex") == b""
    for other in ("tenant:ac", "tenant:ACME", "tenant:acme ", "acme", "tenant:*", ""):
        assert await cache.get(other) is None


async def test_what_is_set_last_holds(cache):
    for value in (b"1", b"2"):
        await cache.set("tenant:acme", value, ttl_s=600)
    assert await cache.get("tenant:acme") == b"2"


async def test_what_has_outlived_its_time_is_gone(cache):
    await cache.set("tenant:acme", b"short", ttl_s=0.02)
    await cache.set("tenant:globex", b"long", ttl_s=600)
    async with asyncio.timeout(30):
        while await cache.get("tenant:acme") is not None:  # noqa: ASYNC110  time is Redis's
            await asyncio.sleep(0.01)
    assert await cache.get("tenant:globex") == b"long"


async def test_what_is_deleted_is_gone_and_its_neighbours_stay(cache):
    for name in ("a", "b", "c"):
        await cache.set(name, b"x", ttl_s=600)
    await cache.delete("a", "c", "never there")
    await cache.delete()
    assert [await cache.get(name) for name in ("a", "b", "c")] == [None, b"x", None]


async def test_many_are_deleted_at_once(cache):
    names = [f"tenant:{number}" for number in range(1_100)]
    for name in names[:3] + names[-3:]:
        await cache.set(name, b"x", ttl_s=600)
    await cache.delete(*names)
    assert {await cache.get(name) for name in names[:3] + names[-3:]} == {None}


@pytest.mark.parametrize("prefix", ["tenant:", "t*:", "t?n", "[a-z]:", "back\\", "^-"])
async def test_a_prefix_is_deleted_as_it_is_written(cache, prefix):
    others = ("tenan", "other:1", "txn:1", "a:1", "back", "1^-")
    for name in others:
        await cache.set(name, b"other", ttl_s=600)
    for number in range(1_050 if prefix == "tenant:" else 3):
        await cache.set(f"{prefix}{number}", b"x", ttl_s=600)
    await cache.delete_prefix(prefix)
    assert await cache.get(f"{prefix}0") is None
    assert await cache.get(f"{prefix}2") is None
    assert {await cache.get(name) for name in others} == {b"other"}


async def test_the_empty_prefix_empties_it(cache):
    await cache.set("tenant:acme", b"x", ttl_s=600)
    await cache.set("other", b"x", ttl_s=600)
    await cache.delete_prefix("")
    assert await cache.get("tenant:acme") is None
    assert await cache.get("other") is None


async def test_memory_keeps_no_more_than_its_size():
    cache = MemoryCache(size=2)
    for name in ("a", "b", "c"):
        await cache.set(name, b"x", ttl_s=600)
    assert [await cache.get(name) for name in ("a", "b", "c")] == [None, b"x", b"x"]


@pytest.mark.parametrize("name", ["", "a:b", "a b", "*", "é"])
@pytest.mark.parametrize("kind", [RedisCache, SyncRedisCache])
def test_an_installation_whose_name_could_hold_anothers_keys_is_refused(kind, name):
    with pytest.raises(ValueError, match="named by letters"):
        kind("redis://127.0.0.1", installation=name)
