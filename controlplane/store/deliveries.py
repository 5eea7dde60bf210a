"""The outbox: mails to be sent, by template and context. No rendered mail and no token is here.

A delivery is claimed like an operation, by lease and epoch. `sending` is its written intent.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.mail import DeliveryState
from controlplane.errors import LeaseLost
from controlplane.store.mail_tables import email_deliveries as outbox

CHANNEL = "controlplane_deliveries"
GIVE_UP_AFTER = timedelta(hours=24)

_OPEN = (DeliveryState.QUEUED, DeliveryState.SENDING)


@dataclass(frozen=True)
class Delivery:
    """A claimed mail. `interrupted`: an earlier claim wrote its intent and no result."""

    id: UUID
    tenant_id: UUID
    operation_id: UUID
    template: str
    recipient: str
    attempt: int
    epoch: int
    interrupted: bool
    expired: bool


async def enqueue(
    conn: AsyncConnection, *, tenant_id: UUID, operation_id: UUID, template: str, recipient: str
) -> None:
    """Put a mail into the outbox; the same template of the same operation once only."""
    row = insert(outbox).values(
        tenant_id=tenant_id,
        operation_id=operation_id,
        template=template,
        recipient=recipient,
        give_up_at=func.clock_timestamp() + GIVE_UP_AFTER,
    )
    await conn.execute(row.on_conflict_do_nothing(index_elements=["operation_id", "template"]))
    await conn.execute(select(func.pg_notify(CHANNEL, "")))


async def withdraw(conn: AsyncConnection, tenant_id: UUID) -> None:
    """Give up what was not begun to be sent to a tenant. Who has claimed it loses it, and cannot
    queue it again.
    """
    await conn.execute(
        update(outbox)
        .where(outbox.c.tenant_id == tenant_id, outbox.c.state == DeliveryState.QUEUED)
        .values(
            state=DeliveryState.FAILED,
            last_error={"code": "tenant_deleted"},
            epoch=outbox.c.epoch + 1,
            lease_expires_at=None,
        )
    )


async def claim(conn: AsyncConnection, *, ttl_s: float) -> Delivery | None:
    """Take one due mail, or one whose sender died."""
    now = func.clock_timestamp()
    due = (
        select(outbox.c.id, outbox.c.state)
        .where(
            outbox.c.state.in_(_OPEN),
            outbox.c.run_at <= now,
            func.coalesce(outbox.c.lease_expires_at, now) <= now,
        )
        .order_by(outbox.c.run_at)
        .limit(1)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    claimed = (
        update(outbox)
        .where(outbox.c.id == due.c.id)
        .values(epoch=outbox.c.epoch + 1, lease_expires_at=now + timedelta(seconds=ttl_s))
        .returning(
            outbox.c.id,
            outbox.c.tenant_id,
            outbox.c.operation_id,
            outbox.c.template,
            outbox.c.recipient,
            outbox.c.attempt,
            outbox.c.epoch,
            (due.c.state == DeliveryState.SENDING).label("interrupted"),
            (outbox.c.give_up_at <= now).label("expired"),
        )
    )
    row = (await conn.execute(claimed)).one_or_none()
    return Delivery(**row._mapping) if row else None  # noqa: SLF001  SQLAlchemy's public name


async def intend(
    conn: AsyncConnection, delivery: Delivery, *, message_id: str | None = None
) -> None:
    """Write the intent to send, before anything is sent. Raises LeaseLost."""
    known = None if message_id is None else message_id.strip("<>")
    await _write(
        conn,
        delivery,
        state=DeliveryState.SENDING,
        attempt=delivery.attempt + 1,
        message_id=known,
    )


async def settle(
    conn: AsyncConnection,
    delivery: Delivery,
    state: DeliveryState,
    *,
    provider_id: str | None = None,
    error: dict[str, Any] | None = None,
) -> None:
    """Write how it ended. Raises LeaseLost."""
    sent_at = func.clock_timestamp() if state is DeliveryState.SENT else None
    await _write(
        conn,
        delivery,
        state=state,
        provider_id=provider_id,
        last_error=error,
        sent_at=sent_at,
        lease_expires_at=None,
    )


async def postpone(
    conn: AsyncConnection, delivery: Delivery, after_s: float, error: dict[str, Any]
) -> None:
    """Queue it again: it was surely not taken. Raises LeaseLost."""
    await _write(
        conn,
        delivery,
        state=DeliveryState.QUEUED,
        last_error=error,
        lease_expires_at=None,
        run_at=func.clock_timestamp() + timedelta(seconds=after_s),
    )


async def _write(conn: AsyncConnection, delivery: Delivery, **values: Any) -> None:
    result = await conn.execute(
        update(outbox)
        .where(outbox.c.id == delivery.id, outbox.c.epoch == delivery.epoch)
        .values(**values)
    )
    if result.rowcount != 1:
        raise LeaseLost(f"Mail {delivery.id} was taken over after epoch {delivery.epoch}.")


async def of_tenant(conn: AsyncConnection, tenant_id: UUID) -> list[dict[str, Any]]:
    """The tenant's mails, newest first: template, state, attempts and times."""
    c = outbox.c
    rows = await conn.execute(
        select(
            c.id,
            c.operation_id,
            c.template,
            c.recipient,
            c.state,
            c.attempt,
            c.last_error,
            c.created_at,
            c.sent_at,
            c.delivered_at,
        )
        .where(c.tenant_id == tenant_id)
        .order_by(c.created_at.desc(), c.id)
    )
    return [dict(row._mapping) for row in rows]  # noqa: SLF001  SQLAlchemy's public name
