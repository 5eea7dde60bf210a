"""Tells whoever watches an operation or a rollout that it has news. A hint only: the journal is the truth."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import psycopg
import structlog
from psycopg import AsyncConnection, sql

from controlplane.store import rollouts
from controlplane.store.operations import EVENTS_CHANNEL

log = structlog.get_logger()

_RECONNECT_S = 1.0


class Hub:
    """One LISTEN connection for all watchers of this process, and none while nobody watches.

    `url` leads to PostgreSQL directly: a pooler in transaction mode loses notifications.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self._listener: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self.closed = False

    @contextmanager
    def watching(self, watched_id: UUID) -> Iterator[asyncio.Event]:
        """An event that is set whenever the operation or rollout may have news, and when the hub closes."""
        key, event = str(watched_id), asyncio.Event()
        self._watchers.setdefault(key, set()).add(event)
        if self._listener is None:
            self._listener = asyncio.create_task(self._listen())
        try:
            yield event
        finally:
            self._watchers[key].discard(event)
            if not self._watchers[key]:
                del self._watchers[key]
            if not self._watchers:
                self._stop_listening()

    async def close(self) -> None:
        """Let every watcher go, so that streams end before the server does."""
        self.closed = True
        self._wake_all()
        self._stop_listening()
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _stop_listening(self) -> None:
        task, self._listener = self._listener, None
        if task is not None:
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
            task.cancel()

    async def _listen(self) -> None:
        while True:
            try:
                await self._listen_once()
            except psycopg.Error as error:
                log.warning("event_hints_lost", error=type(error).__name__)
                await asyncio.sleep(_RECONNECT_S)

    async def _listen_once(self) -> None:
        async with await AsyncConnection.connect(self._url, autocommit=True) as conn:
            for channel in (EVENTS_CHANNEL, rollouts.CHANNEL):
                await conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            # What happened before the LISTEN was told to nobody.
            self._wake_all()
            async for notice in conn.notifies():
                for event in self._watchers.get(notice.payload, ()):
                    event.set()

    def _wake_all(self) -> None:
        for events in self._watchers.values():
            for event in events:
                event.set()
