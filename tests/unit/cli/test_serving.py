"""The server inside our own loop: it tells when it listens, and ends when it is told."""

import asyncio
import socket
from typing import Any

import httpx2
import pytest

from controlplane.cli.serving import listening, serve
from controlplane.errors import StartupError

pytestmark = pytest.mark.anyio


class Streaming:
    """Streams until `lifespan.shutdown`, then says goodbye."""

    def __init__(self) -> None:
        self.leaving = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello ", "more_body": True})
        await self.leaving.wait()
        await send({"type": "http.response.body", "body": b"goodbye"})

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.leaving.set()
        await send({"type": "lifespan.shutdown.complete"})


async def test_an_open_stream_is_ended_by_the_app_and_not_cut_off() -> None:
    bound, ready, stopping = listening("127.0.0.1", 0), asyncio.Event(), asyncio.Event()
    port = bound.getsockname()[1]
    serving = asyncio.create_task(serve(Streaming(), bound, stopping, ready=ready))
    await asyncio.wait_for(ready.wait(), 30)
    async with (
        httpx2.AsyncClient(trust_env=False, timeout=60) as client,
        client.stream("GET", f"http://127.0.0.1:{port}/") as answer,
    ):
        chunks = answer.aiter_bytes()
        assert await anext(chunks) == b"hello "
        stopping.set()
        assert b"".join([chunk async for chunk in chunks]) == b"goodbye"
    await asyncio.wait_for(serving, 30)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_port_that_is_taken_is_refused_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(StartupError, match="choose another"):
            listening("127.0.0.1", taken.getsockname()[1])


async def test_answers_are_sent_without_waiting_for_acknowledgements() -> None:
    bound = listening("127.0.0.1", 0)
    sets_it: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def met(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted = writer.get_extra_info("socket")
        sets_it.set_result(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    async with await asyncio.start_server(met, sock=bound):
        _, caller = await asyncio.open_connection(*bound.getsockname())
        found = await asyncio.wait_for(sets_it, 30)
        caller.close()
        await caller.wait_closed()
    assert found == 1
