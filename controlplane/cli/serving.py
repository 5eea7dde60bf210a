"""Serving an ASGI app, and ending, inside the process's own event loop."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

from controlplane.errors import StartupError

# An open event stream would hold the end up for ever; its reader comes back by Last-Event-ID.
_GRACE_S = 2
_BACKLOG = 1024
_KEEP_ALIVE_S = 75


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, listening: asyncio.Event) -> None:
        super().__init__(config)
        self.listening = listening

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the command's: it has more to end than the server."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # The app ends its event streams when it is told; uvicorn would first wait for their end.
        await self.lifespan.shutdown()
        await super().shutdown(sockets)


def listening(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes a free one. Raises StartupError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Of a socket without its protocol asyncio sets no TCP_NODELAY, and every answer whose head and
    # body are two packets would wait 40 ms for the acknowledgement of the first one.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise StartupError(
            f"Port {port} of {host} cannot be had ({error.strerror}); choose another."
        ) from error
    return bound


async def serve(
    app: Any,
    bound: socket.socket,
    stopping: asyncio.Event,
    *,
    ready: asyncio.Event | None = None,
) -> None:
    """Serve on the socket, which is closed at the end, until `stopping` is set.

    `ready` is set as soon as requests are answered.
    """
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        # Longer than load balancers keep an idle connection, or they send into a closed one.
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = _Server(config, ready or asyncio.Event())
    serving = asyncio.create_task(server.serve([bound]))
    stopped = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait([serving, stopped], return_when=asyncio.FIRST_COMPLETED)
    finally:
        server.should_exit = True
        stopped.cancel()
        await serving
