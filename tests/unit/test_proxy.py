"""The proxy that breaks connections for other tests: what passes, what is lost, what is left."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.proxy import Cut, Lose, Proxy, Way

pytestmark = pytest.mark.anyio


class Echo:
    """A server that answers every line with itself in capitals, and remembers what it heard."""

    def __init__(self) -> None:
        self.by_connection: list[bytes] = []
        self.ended = asyncio.Event()

    @property
    def heard(self) -> bytes:
        return b"".join(self.by_connection)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.by_connection)
        self.by_connection.append(b"")
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                self.by_connection[number] += line
                if line.endswith(b"\n"):
                    writer.write(line.upper())
        writer.close()
        self.ended.set()


@pytest.fixture
async def echo() -> AsyncIterator[tuple[Echo, Proxy]]:
    """An echo server behind a proxy; at the end no task of theirs is left."""
    served = Echo()
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0)
    async with server, Proxy(*server.sockets[0].getsockname()) as proxy:
        yield served, proxy
    assert [task for task in asyncio.all_tasks() if "Proxy" in str(task.get_coro())] == []


@contextlib.asynccontextmanager
async def client(proxy: Proxy) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def say(proxy: Proxy, *chunks: bytes) -> bytes:
    """All that comes back. A line is answered before what comes after it is said."""
    back = b""
    async with client(proxy) as (reader, writer):
        for chunk in chunks[:-1]:
            writer.write(chunk)
            await asyncio.sleep(0.01)  # most often it goes out alone then
            if chunk.endswith(b"\n"):
                back += await asyncio.wait_for(reader.readline(), 60)
        writer.write(chunks[-1])
        writer.write_eof()
        with contextlib.suppress(ConnectionResetError):
            back += await asyncio.wait_for(reader.read(), 60)
    return back


async def test_without_a_fault_everything_passes_and_both_ends_end(echo):
    server, proxy = echo

    assert await say(proxy, b"one\n", b"two\n") == b"ONE\nTWO\n"
    await asyncio.wait_for(server.ended.wait(), 60)
    assert proxy.opened == 1


async def test_a_request_that_is_cut_never_arrives_whole(echo):
    server, proxy = echo
    proxy.cut = Cut(b"COMMIT")

    assert await say(proxy, b"begin\n", b"x COMMIT\n") == b"BEGIN\n"
    await asyncio.wait_for(server.ended.wait(), 60)
    assert server.heard == b"begin\nx "
    assert proxy.cut.struck


async def test_an_answer_that_is_cut_was_given_all_the_same(echo):
    server, proxy = echo
    proxy.cut = Cut(b"COMMIT", lose=Lose.ANSWER)

    assert await say(proxy, b"begin\n", b"COMMIT now\n") == b"BEGIN\n"
    assert server.heard == b"begin\nCOMMIT now\n"


async def test_a_pattern_is_seen_across_chunks_and_counted_over_connections(echo):
    server, proxy = echo
    proxy.cut = Cut(b"COMMIT", nth=3)

    assert await say(proxy, b"COM", b"MIT\n") == b"COMMIT\n"
    assert await say(proxy, b"COMMIT\n") == b"COMMIT\n"
    assert await say(proxy, b"third COM", b"MIT\n") == b""
    assert await say(proxy, b"COMMIT\n") == b"COMMIT\n"
    assert all(b"third COMMIT" not in heard for heard in server.by_connection)
    assert proxy.cut.seen == 3


async def test_counting_does_not_cut(echo):
    _, proxy = echo
    proxy.cut = Cut(b"a", nth=0)

    assert await say(proxy, b"banana\n") == b"BANANA\n"
    assert (proxy.cut.seen, proxy.cut.struck) == (3, False)


@pytest.mark.parametrize("after", [0, 1, 5, 11])
async def test_a_connection_may_end_after_so_many_bytes(echo, after):
    _, proxy = echo
    proxy.cut = Cut(after=after, way=Way.DOWN)

    assert await say(proxy, b"hello world\n") == b"HELLO WORLD\n"[:after]
    assert await say(proxy, b"again\n") == b"AGAIN\n"


async def test_a_silent_peer_neither_answers_nor_ends(echo):
    server, proxy = echo
    async with client(proxy) as (reader, writer):
        proxy.silent = True
        writer.write(b"hello\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(), 0.1)
    assert server.heard == b""


async def test_a_refusing_proxy_ends_what_is_open_and_comes_back_on_the_same_port(echo):
    _, proxy = echo
    async with client(proxy) as (reader, writer):
        writer.write(b"hello\n")
        assert await reader.readline() == b"HELLO\n"
        await proxy.refuse()
        assert await asyncio.wait_for(reader.read(), 60) == b""
    with pytest.raises(ConnectionRefusedError):
        await say(proxy, b"hello\n")
    await proxy.accept()
    assert await say(proxy, b"hello\n") == b"HELLO\n"


async def test_severing_ends_what_is_open_and_lets_new_ones_in(echo):
    _, proxy = echo
    async with client(proxy) as (reader, writer):
        writer.write(b"hello\n")
        assert await reader.readline() == b"HELLO\n"
        await proxy.sever()
        assert await asyncio.wait_for(reader.read(), 60) == b""
    assert await say(proxy, b"hello\n") == b"HELLO\n"


async def test_latency_delays_the_answer(echo):
    _, proxy = echo
    proxy.latency_s = 0.2
    async with client(proxy) as (reader, writer):
        writer.write(b"hello\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readline(), 0.1)
        proxy.latency_s = 0
        assert await asyncio.wait_for(reader.readline(), 60) == b"HELLO\n"


async def test_a_server_that_is_away_looks_like_one_that_hangs_up():
    async with Proxy("127.0.0.1", 1) as proxy:
        assert await say(proxy, b"hello\n") == b""


async def test_a_url_is_led_through_the_proxy():
    async with Proxy.before("postgresql://ada:p%40ss@127.0.0.1:1/db?x=y") as proxy:
        there = proxy.url("postgresql://ada:p%40ss@127.0.0.1:1/db?x=y")
        assert there == f"postgresql://ada:p%40ss@127.0.0.1:{proxy.port}/db?x=y"
        assert proxy.url("http://localhost:1/v1") == f"http://127.0.0.1:{proxy.port}/v1"


@pytest.mark.parametrize("resets", [False, True])
async def test_a_connection_ends_in_good_order_or_by_a_reset(echo, resets):
    _, proxy = echo
    proxy.cut, proxy.resets = Cut(b"x"), resets

    async with client(proxy) as (reader, writer):
        writer.write(b"x")
        with pytest.raises(ConnectionResetError) if resets else contextlib.nullcontext():
            assert await asyncio.wait_for(reader.read(), 60) == b""
