"""What providers tell of mails that they have taken, entered into the outbox and at the tenant."""

from typing import Any
from uuid import UUID

from sqlalchemy import Row, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.mail import DeliveryState, Fate, MailEvent, state_after
from controlplane.store import tenants
from controlplane.store.deliveries import Delivery
from controlplane.store.mail_tables import email_deliveries as outbox
from controlplane.store.operation_tables import operations

_FOR_GOOD = "bounced_for_good"
_AGAIN = "welcome"  # the operation by which somebody asks for one more mail


async def enter(conn: AsyncConnection, event: MailEvent) -> UUID | None:
    """Enter the event at its mail; returns the mail's id, or None where it is none of ours.

    Entering it again changes nothing.
    """
    found = await _mail_of(conn, event)
    if found is None:
        return None
    # In the order of the sender, who has the tenant first.
    await tenants.get(conn, found.tenant_id, lock=True)
    mail = (
        await conn.execute(select(outbox).where(outbox.c.id == found.id).with_for_update())
    ).one()
    await _enter(conn, mail, event)
    mail_id: UUID = mail.id
    return mail_id


async def suppressed(conn: AsyncConnection, delivery: Delivery) -> bool:
    """Whether the last mail to this address says that it must get none by itself."""
    asked_for = exists().where(
        operations.c.id == delivery.operation_id, operations.c.kind == _AGAIN
    )
    last = (
        select(outbox.c.state, outbox.c.last_error["code"].astext.label("code"))
        .where(outbox.c.recipient == delivery.recipient, outbox.c.sent_at.is_not(None), ~asked_for)
        .order_by(outbox.c.sent_at.desc())
        .limit(1)
    )
    row = (await conn.execute(last)).one_or_none()
    return row is not None and (row.state == DeliveryState.COMPLAINED or row.code == _FOR_GOOD)


async def _mail_of(conn: AsyncConnection, event: MailEvent) -> Row[Any, Any] | None:
    ours = [outbox.c.provider_id == event.provider_id]
    if event.message_id is not None:
        ours.append(outbox.c.message_id == event.message_id)
    query = select(outbox.c.id, outbox.c.tenant_id).where(or_(*ours)).limit(1)
    return (await conn.execute(query)).one_or_none()


async def _enter(conn: AsyncConnection, mail: Row[Any], event: MailEvent) -> None:
    state = DeliveryState(mail.state)
    following = state_after(state, event.fate)
    changes: dict[str, Any] = {}
    if following is not state:
        changes = _changes(mail, event, following)
        await _tell_tenant(conn, mail, following)
    if event.fate is Fate.DELIVERED and mail.delivered_at is None:
        changes["delivered_at"] = event.at
    if changes:
        await conn.execute(update(outbox).where(outbox.c.id == mail.id).values(**changes))


def _changes(mail: Row[Any], event: MailEvent, following: DeliveryState) -> dict[str, Any]:
    unsent = following is DeliveryState.FAILED
    return {
        "state": following,
        "provider_id": event.provider_id,
        "sent_at": None if unsent else mail.sent_at or func.clock_timestamp(),
        "last_error": _error(event),
        # Whoever is about to send it, or to say what became of it, comes too late.
        "epoch": outbox.c.epoch + 1,
        "lease_expires_at": None,
    }


def _error(event: MailEvent) -> dict[str, Any] | None:
    if event.fate in {Fate.TAKEN, Fate.DELIVERED}:
        return None
    code = _FOR_GOOD if event.for_good else str(event.fate)
    return {"code": code, "detail": f"The provider says: {event.fate} ({event.reason})."}


async def _tell_tenant(conn: AsyncConnection, mail: Row[Any], state: DeliveryState) -> None:
    c = outbox.c
    newer = select(c.id).where(
        c.tenant_id == mail.tenant_id,
        c.template == mail.template,
        c.created_at > mail.created_at,
    )
    if (await conn.execute(newer.limit(1))).one_or_none() is not None:
        return
    await tenants.set_condition(
        conn,
        mail.tenant_id,
        "WelcomeSent",
        holds=state is DeliveryState.SENT,
        reason=str(state),
    )
