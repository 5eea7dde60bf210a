"""Hears of new work by LISTEN, on a direct connection. A hint only: every loop polls as well."""

import asyncio
from collections.abc import Mapping
from typing import Any

import psycopg
import structlog
from psycopg import AsyncConnection, sql

log = structlog.get_logger()

_RECONNECT_S = 1.0
_CONNECTION: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "tcp_user_timeout": 20_000,
}


async def listen(url: str, wake: Mapping[str, asyncio.Event], stopping: asyncio.Event) -> None:
    """Set a channel's event whenever something was notified there, until `stopping` is set.

    Reconnects for ever; after each reconnect every event is set, for a hint may have been missed.
    """
    hearing = asyncio.create_task(_hear(url, wake))
    told = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({hearing, told}, return_when=asyncio.FIRST_COMPLETED)
        if hearing.done():
            hearing.result()
    finally:
        for task in (hearing, told):
            task.cancel()
        await asyncio.gather(hearing, told, return_exceptions=True)


async def _hear(url: str, wake: Mapping[str, asyncio.Event]) -> None:
    while True:
        try:
            await _hear_once(url, wake)
        except psycopg.Error as error:
            log.warning("hints_lost", error=type(error).__name__)
            await asyncio.sleep(_RECONNECT_S)


async def _hear_once(url: str, wake: Mapping[str, asyncio.Event]) -> None:
    connecting = AsyncConnection.connect(url, autocommit=True, **_CONNECTION)
    async with await connecting as conn:
        for channel in wake:
            await conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        for event in wake.values():
            event.set()
        async for notice in conn.notifies():
            wake[notice.channel].set()
