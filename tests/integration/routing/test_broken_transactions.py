"""Transactions that are cancelled, lose their connection, or leave it in the midst of something."""

import asyncio
import contextlib

import anyio
import psycopg
import pytest

from controlplane.routing import Tenancy
from controlplane.routing.connections import borrowed
from tests.integration.routing.seen import DEFAULTS, bodies, state_at_checkout

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


async def _sleeps(world, task):
    """Until the task's connection is asleep in a query."""
    asleep = (
        "SELECT 1 FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event = 'PgSleep'"
    )
    async with await psycopg.AsyncConnection.connect(world.admin, autocommit=True) as conn:
        while not await (await conn.execute(asleep)).fetchone():
            _still_running(task)


async def test_a_cancelled_task_rolls_back_and_leaves_a_clean_connection(pool, world, tenancy_on):
    async def work():
        async with tenancy_on(pool).transaction(world.acme) as conn:
            await conn.execute("DELETE FROM notes")
            await conn.execute("SELECT pg_sleep(600)")

    task = asyncio.create_task(work())
    await _sleeps(world, task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await state_at_checkout(pool) == DEFAULTS
    assert world.notes(world.acme) == ["acme"]


async def test_a_cancellation_that_goes_on_closes_the_connection(pool, world, tenancy_on):
    async def work():
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            async with tenancy_on(pool).transaction(world.acme) as conn:
                await conn.execute("DELETE FROM notes")
                await conn.execute("SELECT pg_sleep(600)")

    scopes: list[anyio.CancelScope] = []
    task = asyncio.create_task(work())
    await _sleeps(world, task)
    scopes[0].cancel()
    await task
    assert await state_at_checkout(pool) == DEFAULTS
    assert world.notes(world.acme) == ["acme"]


async def test_a_cancelled_prelude_leaves_a_clean_connection(pool, world, tenancy_on):
    await pool.wait()
    async with await psycopg.AsyncConnection.connect(world.admin) as blocker:
        # What the prelude asks for at the first visit to a schema.
        await blocker.execute("LOCK TABLE pg_catalog.pg_namespace IN ACCESS EXCLUSIVE MODE")

        async def work():
            async with tenancy_on(pool).transaction(world.acme) as conn:
                await bodies(conn)
                pytest.fail("read")

        task = asyncio.create_task(work())
        await _locked(blocker, task)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await state_at_checkout(pool) == DEFAULTS


async def _locked(blocker, task):
    """Until the task waits for what the blocker holds."""
    waiting = "SELECT 1 FROM pg_locks WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    while not await (await blocker.execute(waiting)).fetchone():
        _still_running(task)


def _still_running(task):
    """What ended cannot be waited for; its own error says more than a time-out."""
    if task.done():
        pytest.fail(f"ended: {task}")


async def test_a_lost_connection_raises_its_own_error_and_is_replaced(pool, world, tenancy_on):
    async def work():
        async with tenancy_on(pool).transaction(world.acme) as conn:
            await conn.execute("DELETE FROM notes")
            world.disconnect()
            await conn.execute("SELECT 1")

    with pytest.raises(psycopg.OperationalError, match="terminat"):
        await work()
    assert world.notes(world.acme) == ["acme"]
    async with tenancy_on(pool).transaction(world.acme) as conn:
        assert await bodies(conn) == ["acme"]


async def test_a_connection_lost_unnoticed_does_not_hide_the_error(pool, world, tenancy_on):
    async def work():
        async with tenancy_on(pool).transaction(world.acme) as conn:
            await conn.execute("DELETE FROM notes")
            world.disconnect()
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        await work()
    assert world.notes(world.acme) == ["acme"]
    assert await state_at_checkout(pool) == DEFAULTS


class _Careless:
    """A pool that lends its connection again without a look at it."""

    def __init__(self, conn):
        self._conn = conn

    @contextlib.asynccontextmanager
    async def connection(self):
        yield self._conn


async def test_a_connection_in_the_midst_of_a_copy_is_closed_not_lent_again(world):
    async def work():
        async with Tenancy(_Careless(conn), pipelined=False).transaction(world.acme):
            copying = conn.cursor().copy("COPY notes TO STDOUT")
            await copying.__aenter__()
            raise RuntimeError("boom")

    async with await psycopg.AsyncConnection.connect(world.app) as conn:
        with pytest.raises(RuntimeError, match="boom"):
            await work()
        assert conn.closed


async def test_a_connection_left_in_a_transaction_is_closed_not_lent_again(world):
    async with await psycopg.AsyncConnection.connect(world.app) as conn:
        async with borrowed(_Careless(conn)):
            await conn.execute("BEGIN")
        assert conn.closed
