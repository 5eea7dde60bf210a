"""Hears at once of tenants that have changed. A hint: the directory finds out without it too."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import AsyncConnection

from controlplane.routing.directory import TenantDirectory

log = logging.getLogger(__name__)

CHANNEL = "controlplane_tenants"
_RECONNECT_S = 1.0
_CONNECTION: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "tcp_user_timeout": 20_000,
}


async def listen(conninfo: str, directory: TenantDirectory) -> None:
    """Have the directory forget whatever is told of, and pass it on to those who share something
    with it, until the task is cancelled.

    Needs a connection of its own that no pooler hands to others. After every reconnect the
    directory forgets everything, for something may have been missed.
    """
    while True:
        try:
            await _listen_once(conninfo, directory)
        except psycopg.Error as error:
            log.warning("not listening for tenants' changes: %s", type(error).__name__)
        await asyncio.sleep(_RECONNECT_S)


@asynccontextmanager
async def listening(conninfo: str, directory: TenantDirectory) -> AsyncIterator[None]:
    """`listen` for as long as the block lasts: for an application's lifespan."""
    task = asyncio.create_task(listen(conninfo, directory))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _listen_once(conninfo: str, directory: TenantDirectory) -> None:
    connecting = AsyncConnection.connect(conninfo, autocommit=True, **_CONNECTION)
    async with await connecting as conn:
        await conn.execute(f"LISTEN {CHANNEL}")
        directory.forget()
        async for notice in conn.notifies():
            directory.tell([notice.payload])
