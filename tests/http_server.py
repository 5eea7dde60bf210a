"""An HTTP server on loopback for tests, which answers wrongly when it is told to.

A subclass says in `respond` what it answers otherwise: tests/http_proxy.py asks the real server, a
stand-in for somebody's API answers by itself.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import NamedTuple, Self

HOP_BY_HOP = {"connection", "content-encoding", "content-length", "transfer-encoding", "host"}


class Request(NamedTuple):
    """`target` is path and query; the headers' names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Fault:
    """The answer to the next `times` requests that fit. With `after_effect`, the server gets the
    request and its own answer is lost. `latency_s` passes before the answer."""

    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    times: int = 1
    method: str = ""
    target: str = ""
    after_effect: bool = False
    latency_s: float = 0.0

    def fits(self, request: Request) -> bool:
        """`method` exactly or one of several with spaces between, `target` as a part of it; where
        they are empty, any."""
        methods = self.method.split()
        return (not methods or request.method in methods) and self.target in request.target


class HttpServer:
    """A context manager; inside it, `faults` may be changed at any time. `requests` are all that
    came. Reads bodies by their Content-Length."""

    def __init__(self) -> None:
        self.port = 0
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self._held = contextlib.AsyncExitStack()
        self._talks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def respond(self, request: Request) -> bytes:
        """The whole answer, as `spelled` makes it."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self._held.push_async_callback(self._end, server)
        self.port = server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        await self._held.aclose()

    async def _end(self, server: asyncio.Server) -> None:
        server.close()
        talks = list(self._talks)
        for talk in talks:
            talk.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        await server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        try:
            while request := await _read(reader):
                self.requests.append(request)
                writer.write(await self._answer(request))
                await writer.drain()
                if request.headers.get("connection", "").lower() == "close":
                    break
        except (OSError, asyncio.CancelledError):
            pass  # the client has gone, or the server ends
        finally:
            self._talks.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, request: Request) -> bytes:
        fault = next((fault for fault in self.faults if fault.fits(request)), None)
        if fault is None:
            return await self.respond(request)
        fault.times -= 1
        if not fault.times:
            self.faults.remove(fault)
        if fault.after_effect:
            await self.respond(request)
        await asyncio.sleep(fault.latency_s)
        return spelled(fault.status, fault.headers, fault.body)


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").strip().split("\r\n")
        method, target, _ = first.split(" ")
        fields = (line.partition(":") for line in rest)
        headers = {name.lower(): value.strip() for name, _, value in fields}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    except asyncio.IncompleteReadError:
        return None
    return Request(method, target, headers, body)


def spelled(status: int, headers: Mapping[str, str], body: bytes) -> bytes:
    kept = {k: v for k, v in headers.items() if k.lower() not in HOP_BY_HOP}
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in kept.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
