"""Borrowing a connection from the app server's pool."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus


class Pool(Protocol):
    """What lends connections: psycopg_pool.AsyncConnectionPool, or anything of its shape.

    One pool per database, never one per tenant. A connection that comes back closed is to be
    replaced.
    """

    def connection(self) -> AbstractAsyncContextManager[AsyncConnection[Any]]: ...


@asynccontextmanager
async def borrowed(pool: Pool) -> AsyncIterator[AsyncConnection[Any]]:
    """A connection in autocommit, outside any transaction, which goes back as it came or closed."""
    async with pool.connection() as conn:
        autocommit, prepare_threshold = conn.autocommit, conn.prepare_threshold
        try:
            # Else psycopg sends a BEGIN of its own, in a round trip of its own.
            await conn.set_autocommit(True)
            # Behind a pooler a statement's name may be another client's statement.
            conn.prepare_threshold = None
            yield conn
        finally:
            if conn.info.transaction_status == TransactionStatus.IDLE:
                await conn.set_autocommit(autocommit)
                conn.prepare_threshold = prepare_threshold
            else:
                # Not close(): it awaits, or hands the connection back to some pools.
                conn.pgconn.finish()
