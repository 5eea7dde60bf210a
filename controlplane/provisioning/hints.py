"""Hears of new work by LISTEN, on a direct connection. A hint only: every loop polls as well."""

import asyncio
from collections.abc import Mapping
from typing import Any

import psycopg
import structlog
from psycopg import AsyncConnection, sql

from controlplane.provisioning.waiting import first_of

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
    while not stopping.is_set():
        try:
            await _listen_once(url, wake, stopping)
        except psycopg.Error as error:
            log.warning("hints_lost", error=type(error).__name__)
            await first_of(stopping, timeout_s=_RECONNECT_S)


async def _listen_once(
    url: str, wake: Mapping[str, asyncio.Event], stopping: asyncio.Event
) -> None:
    connecting = AsyncConnection.connect(url, autocommit=True, **_CONNECTION)
    async with await connecting as conn:
        for channel in wake:
            await conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        for event in wake.values():
            event.set()
        while not stopping.is_set():
            async for notice in conn.notifies(timeout=1.0):
                wake[notice.channel].set()
