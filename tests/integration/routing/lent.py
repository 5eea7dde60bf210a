"""Pools that count what they lend, to see who asks PostgreSQL and how often."""

import asyncio
from contextlib import asynccontextmanager


class CountedPool:
    """Lends another pool's connections; `gate` holds them back."""

    def __init__(self, pool):
        self._pool = pool
        self.lent = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.borrowing = asyncio.Event()

    @asynccontextmanager
    async def connection(self):
        self.lent += 1
        self.borrowing.set()
        await self.gate.wait()
        async with self._pool.connection() as conn:
            yield conn
