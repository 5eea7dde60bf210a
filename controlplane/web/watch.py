"""Following an operation: its events as they come, and its end."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from uuid import UUID

import structlog
from sqlalchemy.exc import OperationalError

from controlplane.domain.operations import FINISHED
from controlplane.store import operations
from controlplane.store.operations import Event, OperationView
from controlplane.web.hub import Hub
from controlplane.web.request import reading
from controlplane.wiring import Parts

log = structlog.get_logger()

_POLL_S = 2.0
_HEARTBEAT_S = 15.0
# A token may be revoked meanwhile; the client comes back and is asked for it again.
_LONGEST_S = 600.0
_BATCH = 500


async def stream(
    parts: Parts, hub: Hub, operation_id: UUID, *, after: int, heartbeat_s: float = _HEARTBEAT_S
) -> AsyncGenerator[bytes, None]:
    """The events behind number `after` as server-sent events, to the end of the operation.

    Ends early after ten minutes, when the hub closes or when the database goes away: the client
    comes back with the number of the last event it has.
    """
    yield b"retry: 1000\n\n"
    began = heard = time.monotonic()
    with hub.watching(operation_id) as news:
        while not hub.closed and time.monotonic() - began < _LONGEST_S:
            news.clear()
            try:
                finished, events = await _read(parts, operation_id, after)
            except OperationalError as error:
                log.warning("events_interrupted", error=type(error.orig).__name__)
                return
            for event in events:
                after, heard = event.seq, time.monotonic()
                yield _frame(event)
            if len(events) == _BATCH:
                continue
            if finished:
                return
            if time.monotonic() - heard >= heartbeat_s:
                heard = time.monotonic()
                yield b": still here\n\n"
            await _news(news, min(_POLL_S, heartbeat_s))


async def _read(parts: Parts, operation_id: UUID, after: int) -> tuple[bool, list[Event]]:
    """Whether the operation has ended, and events. The end is looked at first: its last event was
    committed with it, so what is read afterwards is complete."""
    async with reading(parts) as conn:
        operation = await operations.get(conn, operation_id)
        events = await operations.events(conn, operation_id, after=after, limit=_BATCH)
    return operation.state in FINISHED, events


def _frame(event: Event) -> bytes:
    told = {"seq": event.seq, "at": event.at.isoformat(), "type": event.type, "step": event.step}
    text = json.dumps({**told, "data": event.data})
    return f"id: {event.seq}\nevent: {event.type}\ndata: {text}\n\n".encode()


async def _news(news: asyncio.Event, timeout_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await news.wait()


async def ended(parts: Parts, hub: Hub, operation: OperationView, wait_s: float) -> OperationView:
    """The operation when it has ended, or as it is when the time is over."""
    until = time.monotonic() + wait_s
    with hub.watching(operation.id) as news:
        while operation.state not in FINISHED and not hub.closed:
            left = until - time.monotonic()
            if left <= 0:
                break
            await _news(news, min(_POLL_S, left))
            news.clear()
            async with reading(parts) as conn:
                operation = await operations.get(conn, operation.id)
    return operation
