"""Borrowing a connection from the app server's pool, and what it must be like to go back."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from types import TracebackType
from typing import Any, Protocol
from uuid import UUID
from weakref import WeakKeyDictionary

from psycopg import AsyncConnection, Connection
from psycopg.pq import PipelineStatus, TransactionStatus

from controlplane.routing.block import Driver
from controlplane.routing.cancels import cancels, heed


class Pool(Protocol):
    """What lends connections: psycopg_pool.AsyncConnectionPool, or anything of its shape.

    One pool per database, never one per tenant. A connection that comes back closed is to be
    replaced. The block that lends is left in another task than the one that entered it.
    """

    def connection(self) -> AbstractAsyncContextManager[AsyncConnection[Any]]: ...


class SyncPool(Protocol):
    """The same for threads: psycopg_pool.ConnectionPool."""

    def connection(self) -> AbstractContextManager[Connection[Any]]: ...


@asynccontextmanager
async def borrowed(pool: Pool) -> AsyncIterator[AsyncConnection[Any]]:
    """A connection in autocommit, outside any transaction, which goes back as it came or closed.

    It does go back: whoever is cancelled while it does hears of that afterwards.
    """
    async with _Lent(pool.connection()) as conn:
        autocommit, prepare_threshold = conn.autocommit, conn.prepare_threshold
        try:
            if not autocommit:
                # Else psycopg sends a BEGIN of its own, in a round trip of its own.
                await conn.set_autocommit(True)
            # Behind a pooler a statement's name may be another client's statement.
            conn.prepare_threshold = None
            yield conn
        finally:
            if _is_clean(conn):
                if conn.autocommit != autocommit:
                    await conn.set_autocommit(autocommit)
                conn.prepare_threshold = prepare_threshold


class _Lent:
    """Of a borrower who is cancelled psycopg's pool loses for good what is on its way back, and
    on Python 3.11 it may overhear the cancel and lend."""

    def __init__(self, lent: AbstractAsyncContextManager[AsyncConnection[Any]]) -> None:
        self._lent = lent

    async def __aenter__(self) -> AsyncConnection[Any]:
        asked = cancels()
        conn = await self._lent.__aenter__()
        try:
            heed(asked)
        except asyncio.CancelledError:
            await self.__aexit__(None, None, None)
            raise
        return conn

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await _to_its_end(self._lent.__aexit__(kind, error, traceback))


async def _to_its_end(doing: Coroutine[Any, Any, bool | None]) -> bool | None:
    task = asyncio.ensure_future(doing)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            # The cancel goes before it; asyncio is not to complain that nobody heard.
            task.exception()
        raise


@contextmanager
def borrowed_sync(pool: SyncPool) -> Iterator[Connection[Any]]:
    """As `borrowed`, for threads."""
    with pool.connection() as conn:
        autocommit, prepare_threshold = conn.autocommit, conn.prepare_threshold
        try:
            if not autocommit:
                conn.autocommit = True
            conn.prepare_threshold = None
            yield conn
        finally:
            if _is_clean(conn):
                if conn.autocommit != autocommit:
                    conn.autocommit = autocommit
                conn.prepare_threshold = prepare_threshold


def _is_clean(conn: Driver) -> bool:
    """Whether it may be lent to others; it is closed where it may not."""
    pgconn = conn.pgconn
    idle = pgconn.transaction_status == TransactionStatus.IDLE
    if not idle or pgconn.pipeline_status != PipelineStatus.OFF:
        # Not close(): it awaits, or hands the connection back to some pools.
        pgconn.finish()
        return False
    return True


class Visits:
    """Which tenants each connection has been to.

    The server's process remembers the tables of every tenant it has seen, some 50 kB each, until
    its connection ends: 5,000 tenants on each of 20 connections come to 5 GB.
    """

    def __init__(self, *, limit: int | None) -> None:
        if limit is not None and limit < 1:
            raise ValueError("a connection visits one tenant at least")
        self._limit = limit
        self._seen: WeakKeyDictionary[Driver, set[UUID]] = WeakKeyDictionary()

    def note(self, conn: Driver, tenant_id: UUID) -> None:
        if self._limit is not None:
            self._seen.setdefault(conn, set()).add(tenant_id)

    def retire(self, conn: Driver) -> None:
        """Close the connection if it has visited as many tenants as it may."""
        if self._limit is not None and len(self._seen.get(conn, ())) >= self._limit:
            conn.pgconn.finish()
