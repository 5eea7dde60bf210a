"""A directory that listens hears of changes at once, and forgets what it may have missed."""

import asyncio
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest

from controlplane.domain.tenants import TenantState
from controlplane.routing import TenantDirectory
from controlplane.routing.known import Ages
from controlplane.routing.listening import listen

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


@asynccontextmanager
async def _listening(world, directory):
    task = asyncio.create_task(listen(world.app, directory))
    try:
        await _until(partial(_one_listens, world))
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _one_listens(world):
    ((count,),) = world.do(
        "SELECT count(*) FROM pg_stat_activity WHERE query = 'LISTEN controlplane_tenants'"
        " AND state = 'idle' AND datname = current_database()"
    )
    return count == 1


async def _until(holds):
    async with asyncio.timeout(60):
        while not await holds():  # noqa: ASYNC110  the condition is another process's
            await asyncio.sleep(0.01)


async def _suspended(directory):
    found = await directory.lookup("acme")
    return found is not None and found.state is TenantState.SUSPENDED


async def test_a_change_is_heard_by_a_directory_that_does_not_ask(pool, world):
    directory = TenantDirectory(pool, ages=Ages(fresh_s=3600))
    async with _listening(world, directory):
        assert await directory.lookup("acme") == world.acme
        world.do("UPDATE public.tenants SET state = 'suspended' WHERE subdomain = 'acme'")
        await _until(partial(_suspended, directory))


async def test_what_was_missed_while_not_listening_is_not_believed_after_the_reconnect(pool, world):
    directory = TenantDirectory(pool, ages=Ages(fresh_s=3600))
    async with _listening(world, directory):
        assert await directory.lookup("acme") == world.acme
        world.do("ALTER TABLE public.tenants DISABLE TRIGGER told")
        world.do("UPDATE public.tenants SET state = 'suspended' WHERE subdomain = 'acme'")
        assert await directory.lookup("acme") == world.acme
        world.do(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
            " WHERE query = 'LISTEN controlplane_tenants' AND datname = current_database()"
        )
        await _until(partial(_one_listens, world))
        await _until(partial(_suspended, directory))
