"""Idempotency-Key: the second request with a key finds the first one's operation."""

import hashlib
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.errors import IdempotencyInFlight, IdempotencyKeyReused
from controlplane.store.operation_tables import idempotency_keys as table

KEPT_FOR = timedelta(hours=24)


def fingerprint(method: str, path: str, body: bytes) -> bytes:
    """What makes two requests the same."""
    return hashlib.sha256(b"\n".join([method.encode(), path.encode(), body])).digest()


async def earlier(conn: AsyncConnection, *, principal: UUID, key: str, mark: bytes) -> UUID | None:
    """The operation that an earlier request with this key was answered with.

    Holds the key until the commit. Raises IdempotencyInFlight while another request holds it,
    IdempotencyKeyReused if that request was another one.
    """
    await hold(conn, principal=principal, key=key)
    ours = (table.c.principal == principal) & (table.c.key == key)
    await conn.execute(delete(table).where(ours, table.c.expires_at <= func.clock_timestamp()))
    row = (await conn.execute(select(table).where(ours))).one_or_none()
    if row is None:
        return None
    if bytes(row.fingerprint) != mark:
        raise IdempotencyKeyReused("Send another Idempotency-Key with another request.")
    operation_id: UUID = row.operation_id
    return operation_id


async def hold(conn: AsyncConnection, *, principal: UUID, key: str) -> None:
    """Hold the key until the commit. Raises IdempotencyInFlight while another request does."""
    held = select(func.pg_try_advisory_xact_lock(func.hashtextextended(f"{principal}/{key}", 0)))
    if not (await conn.execute(held)).scalar_one():
        raise IdempotencyInFlight("Repeat this request when the first one has been answered.")


async def remember(
    conn: AsyncConnection, *, principal: UUID, key: str, mark: bytes, operation_id: UUID
) -> None:
    """Enter the key, in the transaction that accepts the request."""
    await conn.execute(
        insert(table).values(
            principal=principal,
            key=key,
            fingerprint=mark,
            operation_id=operation_id,
            expires_at=func.clock_timestamp() + KEPT_FOR,
        )
    )


async def forget_expired(conn: AsyncConnection) -> None:
    """Delete the keys whose time is over."""
    await conn.execute(delete(table).where(table.c.expires_at <= func.clock_timestamp()))
