"""What pools tell of themselves: the same numbers, whoever made them."""

import asyncio
import functools
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolTimeout
from sqlalchemy import create_engine
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlalchemy.ext.asyncio import create_async_engine

from controlplane.routing import PoolFigures, pool_figures
from controlplane.routing.sqlalchemy_pools import CountedAsyncPool, CountedPool

pytestmark = pytest.mark.anyio


async def _until(holds: Any) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110  the condition is the pool's
            await asyncio.sleep(0.005)


async def test_psycopgs_pools_tell_who_holds_waits_and_gave_up(world):
    async with AsyncConnectionPool(world.app, min_size=1, max_size=1, open=False) as pool:
        await pool.wait()
        assert pool_figures(pool) == PoolFigures(1, 1, 0, 0, 0, 0.0, 0)
        async with pool.connection():
            waiting = asyncio.create_task(_borrow(pool))
            await _until(lambda: pool_figures(pool).waiting == 1)
            held = pool_figures(pool)
            with pytest.raises(PoolTimeout):
                async with pool.connection(timeout=0.01):
                    pass
        await waiting
        after = pool_figures(pool)
    assert (held.limit, held.size, held.used, held.asked) == (1, 1, 1, 2)
    assert (after.used, after.waiting, after.asked, after.given_up) == (0, 0, 3, 1)
    assert after.waited_s > 0


async def _borrow(pool: Any) -> None:
    async with pool.connection():
        pass


def test_so_do_those_of_threads(world):
    with ConnectionPool(world.app, min_size=1, max_size=2, open=True) as pool:
        pool.wait()
        with pool.connection():
            figures = pool_figures(pool)
    assert (figures.limit, figures.size, figures.used, figures.asked) == (2, 1, 1, 1)


async def test_sqlalchemys_pools_tell_the_same(world):
    creator = functools.partial(psycopg.AsyncConnection.connect, world.app)
    engine = create_async_engine(
        "postgresql+psycopg://",
        async_creator=creator,
        poolclass=CountedAsyncPool,
        pool_size=1,
        max_overflow=0,
        pool_timeout=60,
    )
    pool = engine.sync_engine.pool
    assert isinstance(pool, CountedAsyncPool)
    assert pool.figures() == PoolFigures(1, 0, 0, 0, 0, 0.0, 0)
    try:
        async with engine.connect():
            waiting = asyncio.create_task(_connect(engine))
            await _until(lambda: pool.figures().waiting == 1)
            held = pool.figures()
            gone = asyncio.create_task(_connect(engine))
            await _until(lambda: pool.figures().waiting == 2)
            gone.cancel()
            await asyncio.wait([gone])
        await waiting
        after = pool.figures()
    finally:
        await engine.dispose()
    assert (held.limit, held.size, held.used, held.asked) == (1, 1, 1, 2)
    assert (after.used, after.waiting, after.asked, after.given_up) == (0, 0, 3, 1)
    assert after.waited_s > 0


async def _connect(engine: Any) -> None:
    async with engine.connect():
        pass


def test_a_time_out_of_sqlalchemys_pool_is_somebody_who_gave_up(world):
    engine = create_engine(
        "postgresql+psycopg://",
        creator=functools.partial(psycopg.connect, world.app),
        poolclass=CountedPool,
        pool_size=1,
        max_overflow=1,
        pool_timeout=0.01,
    )
    pool = engine.pool
    assert isinstance(pool, CountedPool)
    with engine.connect(), engine.connect(), pytest.raises(NoConnection):
        engine.connect()
    figures = pool.figures()
    engine.dispose()
    assert (figures.limit, figures.used) == (2, 0)
    assert (figures.asked, figures.given_up, figures.waiting) == (3, 1, 0)
