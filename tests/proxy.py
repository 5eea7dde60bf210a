"""A TCP proxy on loopback that breaks when it is told to: what a network does to a conversation.

    async with Proxy("127.0.0.1", 5432) as proxy:
        proxy.cut = Cut(b"COMMIT", lose=Lose.ANSWER)
        ...  # talk to proxy.port

It knows no protocol, so it stands before a database, a name server or a mail server alike. Answers
in a web server's place are tests/http_proxy.py.
"""

import asyncio
import contextlib
import secrets
import socket
import struct
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

_CHUNK = 65_536
# Below those for whoever does not say which he wants (Linux, BSD and IANA).
_PORTS = range(20_000, 32_000)


class Way(StrEnum):
    UP = "to the server"
    DOWN = "to the client"


class Lose(StrEnum):
    """What is lost when a request is cut: itself, or the answer to it."""

    REQUEST = "request"
    ANSWER = "answer"


@dataclass
class Cut:
    """Ends one connection, once: where `pattern` passes for the `nth` time over all connections
    or, without a pattern, where one has carried `after` bytes that way.

    With Lose.REQUEST the pattern itself never arrives. With Lose.ANSWER it arrives, the server
    answers, and not a byte of the answer comes back. `nth=0` never cuts and counts in `seen`.
    """

    pattern: bytes = b""
    nth: int = 1
    after: int = 0
    way: Way = Way.UP
    lose: Lose = Lose.REQUEST
    seen: int = 0

    @property
    def struck(self) -> bool:
        return 0 < self.nth <= self.seen


class _Severed(Exception):  # noqa: N818  no error: the proxy was told to
    """This connection ends here."""


@dataclass
class _Flow:
    """One direction of one connection."""

    way: Way
    carried: int = 0
    tail: bytes = b""
    _of: Cut | None = None

    def until(self, cut: Cut, chunk: bytes) -> int | None:
        """How many bytes of the chunk may pass before the cut; None where it is not here."""
        if self._of is not cut:
            self._of, self.tail = cut, b""
        return self._pattern(cut, chunk) if cut.pattern else self._amount(cut, chunk)

    def _amount(self, cut: Cut, chunk: bytes) -> int | None:
        if cut.struck or self.carried + len(chunk) < cut.after:
            return None
        cut.seen = cut.nth
        return max(cut.after - self.carried, 0)

    def _pattern(self, cut: Cut, chunk: bytes) -> int | None:
        """A pattern may lie across chunks: what of it has passed already is not called back."""
        window, known, at = self.tail + chunk, len(self.tail), -1
        self.tail = window[1 - len(cut.pattern) :] if len(cut.pattern) > 1 else b""
        while not cut.struck and (at := window.find(cut.pattern, at + 1)) >= 0:
            cut.seen += 1
            if cut.struck:
                return max(at - known, 0)
        return None


@dataclass
class _Link:
    """One connection. `deaf`: its next answer is its end."""

    flows: dict[Way, _Flow] = field(default_factory=lambda: {way: _Flow(way) for way in Way})
    deaf: bool = False


class Proxy:
    """A context manager; inside it, its faults may be changed at any time.

    `latency_s` delays every chunk. `silent` swallows everything both ways and ends nothing, as a
    peer does that has gone without a word. With `resets`, connections end by a reset and not in
    good order. `opened` counts the connections so far.
    """

    def __init__(self, host: str, port: int) -> None:
        self.port = 0
        self.latency_s = 0.0
        self.silent = False
        self.resets = False
        self.cut: Cut | None = None
        self.opened = 0
        self._server_address = host, port
        self._listening: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()

    @classmethod
    def before(cls, url: str) -> Self:
        """A proxy in front of the URL's server."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        return cls(parts.hostname, parts.port)

    def url(self, url: str) -> str:
        """The URL as it leads through this proxy."""
        parts = urlsplit(url)
        login = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
        return urlunsplit(parts._replace(netloc=f"{login}127.0.0.1:{self.port}"))

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        await self.refuse()

    async def accept(self) -> None:
        """Listen: at first on any free port, after `refuse` on the same one, which is none that a
        system gives away by itself."""
        while not self.port:
            port = secrets.choice(_PORTS)
            with contextlib.suppress(OSError):
                self._listening = await self._listen(port)
                self.port = port
                return
        self._listening = await self._listen(self.port)

    async def _listen(self, port: int) -> asyncio.Server:
        return await asyncio.start_server(self._connected, "127.0.0.1", port)

    async def refuse(self) -> None:
        """End every connection and let no new one in."""
        assert self._listening is not None
        self._listening.close()
        await self.sever()
        await self._listening.wait_closed()

    async def sever(self) -> None:
        """End every connection; new ones are let in."""
        links = list(self._links)
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        self.opened += 1
        try:
            await self._carry(reader, writer)
        except asyncio.CancelledError:
            pass  # by `sever`; whoever started this task asks nothing of it
        finally:
            self._links.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with contextlib.AsyncExitStack() as ends:
            ends.push_async_callback(self._close, writer)
            try:
                up, down = await asyncio.open_connection(*self._server_address)
            except OSError:
                return
            ends.push_async_callback(self._close, down)
            link = _Link()
            pumps = [
                asyncio.create_task(self._pump(link, Way.UP, reader, down)),
                asyncio.create_task(self._pump(link, Way.DOWN, up, writer)),
            ]
            ends.push_async_callback(_end, pumps)
            await asyncio.wait(pumps, return_when=asyncio.FIRST_EXCEPTION)

    async def _pump(
        self, link: _Link, way: Way, source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        while chunk := await source.read(_CHUNK):
            await asyncio.sleep(self.latency_s)
            if self.silent:
                continue
            if link.deaf and way is Way.DOWN:
                raise _Severed
            allowed = self._allowed(link, link.flows[way], chunk)
            sink.write(chunk[:allowed])
            await sink.drain()
            if allowed is not None:
                raise _Severed
        if not self.silent and sink.can_write_eof():
            sink.write_eof()

    async def _close(self, writer: asyncio.StreamWriter) -> None:
        if self.resets:
            _reset(writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    def _allowed(self, link: _Link, flow: _Flow, chunk: bytes) -> int | None:
        """How many bytes may pass before the end; None for all of them and no end."""
        cut, until = self.cut, None
        if cut is not None and cut.way is flow.way:
            until = flow.until(cut, chunk)
        flow.carried += len(chunk)
        if until is None or cut is None or cut.lose is Lose.REQUEST:
            return until
        link.deaf = True
        return None


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _reset(writer: asyncio.StreamWriter) -> None:
    """With nothing to linger for, the end of a socket is a reset."""
    at_once = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    writer.transport.abort()
