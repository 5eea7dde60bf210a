"""Clients of an ASGI application that do what clients do: read, wait no longer, hang up."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]
_Message = dict[str, Any]
# Seconds within which whatever disturbs a request does so.
_SOON_S = 0.012


@dataclass(frozen=True)
class Ask:
    """A request. `{marker}` in path and body stands for the marker of the tenant that is asked.

    An answer to one that `shows` must hold the tenant's marker; one that `fails` may be answered
    with any error, or by an exception.
    """

    path: str = "/"
    method: str = "GET"
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    shows: bool = True
    fails: bool = False


class Fault(StrEnum):
    """What befalls a request."""

    NONE = "undisturbed"
    CANCELLED = "cancelled"
    CANCELLED_TWICE = "cancelled twice"
    TIMED_OUT = "timed out"
    GONE_EARLY = "gone before the answer"
    GONE_MIDWAY = "gone in its midst"
    CONNECTION_RESET = "reset in its midst"
    SEND_FAILED = "not to be sent"


class SendFailedError(Exception):
    """Raised by `send`, as a server's own fault would be."""


@dataclass
class Exchange:
    """One request and what was answered to it."""

    ask: Ask
    host: str
    marker: str
    fault: Fault
    status: int | None = None
    answer: bytes = b""
    whole: bool = False
    error: BaseException | None = None
    _asked: bool = False
    _gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self) -> _Message:
        if self.fault is Fault.GONE_EARLY:
            self._gone.set()
        elif not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self._filled(self.ask.body).encode()}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: _Message) -> None:
        # A turn for the others, as a socket would give.
        await asyncio.sleep(0)
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.answer += b"\n".join(b": ".join(pair) for pair in message.get("headers", ()))
        else:
            self.answer += message.get("body", b"")
            self.whole = not message.get("more_body", False)
            self._disturb()

    def _disturb(self) -> None:
        match self.fault:
            case Fault.GONE_MIDWAY:
                self._gone.set()
            case Fault.CONNECTION_RESET:
                raise ConnectionResetError("the client is gone")
            case Fault.SEND_FAILED:
                raise SendFailedError

    def scope(self) -> _Message:
        path = self._filled(self.ask.path)
        path, _, query = path.partition("?")
        headers = [("host", self.host), *self.ask.headers]
        if self.ask.body:
            headers.append(("content-length", str(len(self._filled(self.ask.body)))))
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": self.ask.method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in headers],
            "client": ("127.0.0.1", 50_000),
            "server": ("127.0.0.1", 80),
            "state": {},
        }

    def _filled(self, text: str) -> str:
        return text.replace("{marker}", self.marker)

    async def run(self, app: ASGIApp, draw: random.Random, context: Context) -> None:
        """Until the request has ended, however it does. Every request of a client runs in the
        same `context`: harsher than servers are, so that what stays in it is seen."""
        within_s = draw.uniform(0, _SOON_S)
        task = asyncio.create_task(self._call(app, within_s), context=context)
        if self.fault in {Fault.CANCELLED, Fault.CANCELLED_TWICE}:
            await asyncio.wait([task], timeout=within_s)
            task.cancel()
        if self.fault is Fault.CANCELLED_TWICE:
            await asyncio.sleep(0)
            task.cancel()
        try:
            await asyncio.wait([task])
        finally:
            # Whoever stops the whole run takes no request's task along.
            task.cancel()
        self.error = asyncio.CancelledError() if task.cancelled() else task.exception()

    async def _call(self, app: ASGIApp, within_s: float) -> None:
        async with asyncio.timeout(within_s if self.fault is Fault.TIMED_OUT else None):
            await app(self.scope(), self.receive, self.send)


@asynccontextmanager
async def started(app: ASGIApp) -> AsyncIterator[None]:
    """The application between its start-up and its shutdown, as a server would have it."""
    asked: asyncio.Queue[_Message] = asyncio.Queue()
    answered: asyncio.Queue[_Message] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
    life = asyncio.create_task(_live(app, scope, asked, answered))
    await asked.put({"type": "lifespan.startup"})
    await _complete(life, answered)
    try:
        yield
    finally:
        await asked.put({"type": "lifespan.shutdown"})
        await _complete(life, answered)
        life.cancel()
        await asyncio.wait([life])
        if not life.cancelled():
            # As servers have it, an application that raises here has no lifespan.
            life.exception()


async def _live(
    app: ASGIApp,
    scope: _Message,
    asked: "asyncio.Queue[_Message]",
    answered: "asyncio.Queue[_Message]",
) -> None:
    await app(scope, asked.get, answered.put)


async def _complete(life: "asyncio.Task[None]", answered: "asyncio.Queue[_Message]") -> None:
    """Waits for the application's word; one without a lifespan has ended without any."""
    word = asyncio.create_task(answered.get())
    await asyncio.wait([life, word], return_when=asyncio.FIRST_COMPLETED)
    if word.done() and word.result()["type"].endswith("failed"):
        raise RuntimeError(f"the application did not start: {word.result().get('message', '')}")
    word.cancel()
