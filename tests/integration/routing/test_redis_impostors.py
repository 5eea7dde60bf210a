"""What answers at the address of Redis is something else, or hangs up."""

import asyncio
from contextlib import aclosing, asynccontextmanager, suppress

import pytest

from controlplane.routing.cache import CacheUnavailable
from controlplane.routing.redis_cache import RedisCache
from tests.redis import HASTY, PATIENT

pytestmark = [pytest.mark.anyio, pytest.mark.requires("redis-server")]


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"$abc\r\n",
        b"*x\r\n",
        b"*3\r\n:1\r\n",
        b"\x00\xff\r\n",
        b"-LOADING it\r\n",
        b"-ERR no\r\n",
        b">2\r\n+a\r\n+b\r\n",
        b"%1\r\n+a\r\n",
    ],
)
async def test_what_is_no_redis_is_unavailable(said):
    async with _says(said) as url, RedisCache(url, installation="ours", **HASTY) as cache:
        with pytest.raises(CacheUnavailable):
            await cache.get("a")
        await _is_no_redis(cache)


@pytest.mark.parametrize("said", [b"$-1\r\n", b":1\r\n", b"*0\r\n", b"*-1\r\n"])
async def test_what_is_no_value_is_none(said):
    async with _says(said) as url, RedisCache(url, installation="ours", **PATIENT) as cache:
        assert await cache.get("a") is None
        await _is_no_redis(cache)


async def _is_no_redis(cache):
    with pytest.raises(CacheUnavailable):
        await cache.delete_prefix("a")
    async with aclosing(cache.heard()) as heard:
        with pytest.raises(CacheUnavailable):
            await anext(heard)


@asynccontextmanager
async def _says(said):
    """The URL of a server that answers everything with the same words."""
    writers = set()

    async def answer(reader, writer):
        writers.add(writer)
        with suppress(OSError):
            while await reader.read(4096):
                writer.write(said)
                await writer.drain()
                if not said:
                    break
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for writer in writers:
            writer.close()


async def test_who_is_cancelled_while_he_lets_go_of_it_has_let_go():
    async with _hangs_up() as (url, heard):
        cache = RedisCache(url, installation="ours", timeout_s=3600.0)
        asking = asyncio.create_task(cache.get("a"))
        await heard.get()
        closing = asyncio.create_task(cache.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing], timeout=60)
        assert closing.cancelled()
        await asyncio.wait([asking], timeout=60)
        assert asking.done()
        assert isinstance(asking.exception(), CacheUnavailable)


@asynccontextmanager
async def _hangs_up():
    """The URL of a server that answers nothing, and what ends the last connection to it."""
    heard: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def hear(reader, writer):
        with suppress(OSError):
            while await reader.read(4096):
                heard.put_nowait(writer)
        writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", heard


@pytest.mark.parametrize("what", ["ask", "hear"])
async def test_a_cancel_while_the_connection_ends_is_heeded(what):
    async with _hangs_up() as (url, heard):
        for turns in range(12):
            async with RedisCache(url, installation="ours", **PATIENT) as cache:
                doing = cache.get("a") if what == "ask" else anext(cache.heard())
                task = asyncio.ensure_future(doing)
                (await heard.get()).transport.abort()
                for _ in range(turns):
                    await asyncio.sleep(0)
                if task.done():
                    assert isinstance(task.exception(), CacheUnavailable)
                    continue
                task.cancel()
                await asyncio.wait([task], timeout=60)
                assert task.cancelled(), turns
