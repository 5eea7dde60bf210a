"""A borrower who is cancelled at any moment ends, and the pool has its connection again."""

import asyncio
import gc
import random
from contextlib import asynccontextmanager, suppress

import pytest
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from controlplane.routing.connections import borrowed

pytestmark = pytest.mark.anyio


class SlowToTakeBack(AsyncConnectionPool):
    """Has others to attend to when a connection comes back, as a busy one does."""

    def __init__(self, url):
        super().__init__(url, min_size=1, max_size=1, open=False, timeout=60)
        self.coming_back, self.gate = asyncio.Event(), asyncio.Event()

    async def putconn(self, conn):
        self.coming_back.set()
        await self.gate.wait()
        await super().putconn(conn)


class HardOfHearing:
    """Lends to whoever is cancelled while it lends, as psycopg's does on Python 3.11 when both
    happen at once (psycopg's issue 1345)."""

    def __init__(self, pool):
        self._pool = pool
        self.lending = asyncio.Event()

    @asynccontextmanager
    async def connection(self):
        self.lending.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        async with self._pool.connection() as conn:
            yield conn


async def _borrow(pool, for_s=0.0):
    async with borrowed(pool) as conn:
        await conn.execute("SELECT pg_sleep(%s)", [for_s])


@pytest.mark.parametrize("times", [1, 3])
async def test_a_cancel_while_the_connection_goes_back_does_not_lose_it(world, times):
    async with SlowToTakeBack(world.app) as pool:
        borrower = asyncio.create_task(_borrow(pool))
        await pool.coming_back.wait()
        for _ in range(times):
            borrower.cancel()
            await asyncio.wait([borrower], timeout=0.01)
        assert not borrower.done()
        pool.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await borrower
        await _borrow(pool)


class Broken(SlowToTakeBack):
    """Takes back, and fails."""

    async def putconn(self, conn):
        await super().putconn(conn)
        raise OSError("mine")


async def test_an_error_on_the_way_back_of_who_is_cancelled_is_no_stray(world):
    strays = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: strays.append(told))
    async with Broken(world.app) as pool:
        borrower = asyncio.create_task(_borrow(pool))
        await pool.coming_back.wait()
        borrower.cancel()
        await asyncio.wait([borrower], timeout=0.01)
        pool.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await borrower
    del borrower
    gc.collect()
    assert strays == []


async def test_a_cancel_that_the_pool_overhears_is_heeded_and_the_connection_goes_back(pool):
    deaf = HardOfHearing(pool)
    borrower = asyncio.create_task(_borrow(deaf))
    await deaf.lending.wait()
    borrower.cancel()
    with pytest.raises(asyncio.CancelledError):
        await borrower
    await _borrow(pool)


async def test_an_error_of_the_block_comes_through_as_it_was(pool):
    with pytest.raises(KeyError, match="mine"):
        async with borrowed(pool):
            raise KeyError("mine")


async def test_hundreds_of_cancels_at_any_moment_lose_no_connection(world):
    draw = random.Random(1)  # noqa: S311  no secret
    async with AsyncConnectionPool(
        world.app, min_size=4, max_size=4, open=False, timeout=60
    ) as pool:

        async def client():
            for _ in range(100):
                task = asyncio.create_task(_borrow(pool, 0.001))
                for _ in range(draw.randrange(3)):
                    await asyncio.wait([task], timeout=draw.uniform(0, 0.008))
                    task.cancel()
                await asyncio.wait([task])
                assert task.cancelled() or not isinstance(task.exception(), PoolTimeout)

        await asyncio.gather(*(client() for _ in range(6)))
        # All four at once, or the last of them would wait in vain.
        async with borrowed(pool), borrowed(pool), borrowed(pool), borrowed(pool):
            pass
