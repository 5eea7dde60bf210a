"""Statements handed to the driver itself, for what runs several times in every step of an operation:
measured, half of such a statement's time was spent between SQLAlchemy and the driver."""

from collections.abc import Mapping
from typing import Any

import psycopg
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncConnection


async def first(conn: AsyncConnection, statement: str, values: Mapping[str, Any]) -> Any:
    """The first row as a tuple, or None; in the transaction that `conn` has begun.

    Raises DBAPIError as the connection itself would, and like it gives up one that is broken and
    those in the pool that are as old.
    """
    session = _session(conn, statement, values)
    try:
        return await (await session.execute(statement, values)).fetchone()
    except psycopg.Error as error:
        raise await _failed(conn, session, statement, error) from error


async def carry_out(conn: AsyncConnection, message: str) -> None:
    """One parameterless message, of which no answer is looked at. Raises as `rows_of_each` does."""
    session = _session(conn, message, None)
    try:
        await session.execute(message.encode(), prepare=False)
    except psycopg.Error as error:
        raise await _failed(conn, session, message, error) from error


async def rows_of_each(conn: AsyncConnection, message: str) -> list[list[Any]]:
    """What each statement of one parameterless message answers, in one round trip; nothing of those
    that give no rows. Raises as `first` does: after the first statement that fails, none is run."""
    session = _session(conn, message, None)
    try:
        cursor = await session.execute(message.encode(), prepare=False)
        found = []
        while True:
            if cursor.description is not None:
                found.append(await cursor.fetchall())
            if not cursor.nextset():
                return found
    except psycopg.Error as error:
        raise await _failed(conn, session, message, error) from error


def _session(
    conn: AsyncConnection, statement: str, values: Mapping[str, Any] | None
) -> psycopg.AsyncConnection[Any]:
    sync = conn.sync_connection
    if sync is None or not sync.in_transaction():
        # The driver would begin one that nobody ends.
        raise InvalidRequestError("This statement needs a transaction that has begun.")
    session: psycopg.AsyncConnection[Any] = sync.connection.driver_connection  # type: ignore[assignment]  # of this dialect
    # Whoever listens to what the engine sends is told of this as well.
    sync.dispatch.before_cursor_execute(sync, None, statement, values, None, False)  # noqa: FBT003
    return session


async def _failed(
    conn: AsyncConnection,
    session: psycopg.AsyncConnection[Any],
    statement: str,
    error: psycopg.Error,
) -> DBAPIError:
    sync = conn.sync_connection
    broken = session.closed or session.broken
    if broken and sync is not None:
        # And with it all that are as old: whoever ended one has mostly ended them all.
        sync.engine.pool._invalidate(sync.connection, error, _checkin=False)  # noqa: SLF001  as the connection itself does
        await conn.invalidate(error)
    wrapped: DBAPIError = DBAPIError.instance(
        statement,
        None,
        error,
        psycopg.Error,
        hide_parameters=True,
        connection_invalidated=broken,
    )  # type: ignore[assignment]  # of a database's error
    return wrapped
