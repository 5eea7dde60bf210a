"""A TCP link with delay, in a process of its own: `python bench/delay.py HOST PORT MS`.

It prints the port on which it listens. Every chunk is passed on MS milliseconds later, in either
direction, in order and without limiting how many are under way.
"""

import asyncio
import contextlib
import sys


class _Way(asyncio.Protocol):
    """One direction: what comes in goes out of `other` after the delay."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self.other: asyncio.Transport | None = None
        self.transport: asyncio.Transport | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self.transport = transport

    def joined(self, other: asyncio.Transport) -> None:
        self.other = other
        for chunk in self._early:
            self.data_received(chunk)

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self._early.append(data)
        else:
            asyncio.get_running_loop().call_later(self._delay_s, self.other.write, data)

    def connection_lost(self, _problem: Exception | None) -> None:
        if self.other is not None:
            asyncio.get_running_loop().call_later(self._delay_s, self.other.close)


async def _join(client: _Way, host: str, port: int, delay_s: float) -> None:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_connection(lambda: _Way(delay_s), host, port)
    client.joined(transport)
    if client.transport is not None:
        server.joined(client.transport)


async def main(host: str, port: int, delay_s: float) -> None:
    loop = asyncio.get_running_loop()
    joins: set[asyncio.Task[None]] = set()

    def accept() -> _Way:
        way = _Way(delay_s)
        # Once connection_made() has been called.
        loop.call_soon(lambda: joins.add(loop.create_task(_join(way, host, port, delay_s))))
        return way

    listening = await loop.create_server(accept, "127.0.0.1", 0)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await listening.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) / 1000))
