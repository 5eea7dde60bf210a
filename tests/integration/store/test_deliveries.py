"""The outbox: a mail is enqueued once, claimed by one sender, and settled by nobody else."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from controlplane.domain.mail import DeliveryState
from controlplane.errors import LeaseLost
from controlplane.store import deliveries
from controlplane.store.deliveries import Delivery
from controlplane.store.mail_tables import email_deliveries as outbox
from tests.integration.store.conftest import Accepted, accept

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


async def _enqueue(conn: AsyncConnection, to: Accepted, template: str = "welcome") -> None:
    await deliveries.enqueue(
        conn,
        tenant_id=to.id,
        operation_id=to.operation,
        template=template,
        recipient="ada@acme.test",
    )


async def _claim(conn: AsyncConnection) -> Delivery:
    delivery = await deliveries.claim(conn, ttl_s=30)
    assert delivery is not None
    return delivery


async def _set(conn: AsyncConnection, **values: Any) -> None:
    await conn.execute(update(outbox).values(**values))


async def _row(conn: AsyncConnection) -> Any:
    return (await conn.execute(outbox.select())).one()


async def _lease_runs_out(conn: AsyncConnection) -> None:
    await _set(conn, lease_expires_at=text("now() - interval '1 second'"))


async def test_nothing_is_claimed_from_an_empty_outbox(conn: AsyncConnection) -> None:
    assert await deliveries.claim(conn, ttl_s=30) is None


async def test_a_mail_is_enqueued_once_for_its_operation(
    conn: AsyncConnection, acme: Accepted, globex: Accepted
) -> None:
    for _ in range(2):
        await _enqueue(conn, acme)
    await _enqueue(conn, acme, "goodbye")
    await _enqueue(conn, globex)
    mine = await deliveries.of_tenant(conn, acme.id)
    assert sorted(mail["template"] for mail in mine) == ["goodbye", "welcome"]
    assert len(await deliveries.of_tenant(conn, globex.id)) == 1


async def test_a_claimed_mail_says_what_to_send_and_holds_its_lease(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await _enqueue(conn, acme)
    delivery = await _claim(conn)
    assert delivery == Delivery(
        id=delivery.id,
        tenant_id=acme.id,
        operation_id=acme.operation,
        template="welcome",
        recipient="ada@acme.test",
        attempt=0,
        epoch=1,
        interrupted=False,
        expired=False,
    )
    assert await deliveries.claim(conn, ttl_s=30) is None


async def test_an_unfinished_claim_without_intent_is_simply_claimed_again(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await _enqueue(conn, acme)
    await _claim(conn)
    await _lease_runs_out(conn)
    again = await _claim(conn)
    assert (again.epoch, again.interrupted) == (2, False)


async def test_an_intent_without_a_result_shows_as_interrupted(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await _enqueue(conn, acme)
    await deliveries.intend(conn, await _claim(conn))
    assert await deliveries.claim(conn, ttl_s=30) is None
    await _lease_runs_out(conn)
    again = await _claim(conn)
    assert (again.epoch, again.attempt, again.interrupted) == (2, 1, True)


async def _sent(conn: AsyncConnection, delivery: Delivery) -> None:
    await deliveries.settle(conn, delivery, DeliveryState.SENT)


async def _postponed(conn: AsyncConnection, delivery: Delivery) -> None:
    await deliveries.postpone(conn, delivery, 1.0, {"code": "provider_unavailable"})


@pytest.mark.parametrize("write", [deliveries.intend, _sent, _postponed])
async def test_a_sender_whose_lease_was_taken_over_writes_nothing(
    conn: AsyncConnection, acme: Accepted, write: Any
) -> None:
    await _enqueue(conn, acme)
    late = await _claim(conn)
    await _lease_runs_out(conn)
    await _claim(conn)
    before = await _row(conn)
    with pytest.raises(LeaseLost, match="after epoch 1"):
        await write(conn, late)
    assert await _row(conn) == before


@pytest.mark.parametrize("state", ["sent", "failed", "uncertain"])
async def test_a_settled_mail_is_never_claimed_again(
    conn: AsyncConnection, acme: Accepted, state: DeliveryState
) -> None:
    await _enqueue(conn, acme)
    delivery = await _claim(conn)
    await deliveries.intend(conn, delivery)
    await deliveries.settle(conn, delivery, DeliveryState(state), provider_id="p-1")
    row = await _row(conn)
    assert (row.state, row.provider_id, row.attempt) == (state, "p-1", 1)
    assert (row.sent_at is not None) is (state == "sent")
    await _set(conn, run_at=text("now() - interval '1 hour'"))
    assert await deliveries.claim(conn, ttl_s=30) is None


async def test_a_postponed_mail_waits_its_time_and_keeps_the_reason(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await _enqueue(conn, acme)
    delivery = await _claim(conn)
    await deliveries.intend(conn, delivery)
    await deliveries.postpone(conn, delivery, 60.0, {"code": "provider_unavailable"})
    assert await deliveries.claim(conn, ttl_s=30) is None
    row = await _row(conn)
    assert (row.state, row.last_error) == ("queued", {"code": "provider_unavailable"})
    await _set(conn, run_at=text("now()"))
    again = await _claim(conn)
    assert (again.attempt, again.interrupted) == (1, False)


async def test_a_mail_is_given_up_after_a_day(conn: AsyncConnection, acme: Accepted) -> None:
    await _enqueue(conn, acme)
    row = await _row(conn)
    assert 23.9 < (row.give_up_at - row.created_at).total_seconds() / 3600 < 24.1
    await _set(conn, give_up_at=text("now()"))
    assert (await _claim(conn)).expired


async def test_the_longest_due_goes_first(
    conn: AsyncConnection, acme: Accepted, globex: Accepted
) -> None:
    await _enqueue(conn, acme)
    await _enqueue(conn, globex)
    await conn.execute(
        update(outbox)
        .where(outbox.c.tenant_id == globex.id)
        .values(run_at=text("now() - interval '1 minute'"))
    )
    assert (await _claim(conn)).tenant_id == globex.id
    assert (await _claim(conn)).tenant_id == acme.id


async def test_what_was_not_begun_is_withdrawn_from_that_tenant_alone(
    conn: AsyncConnection, acme: Accepted, globex: Accepted
) -> None:
    await _enqueue(conn, acme)
    await deliveries.intend(conn, await _claim(conn))
    await _enqueue(conn, acme, "goodbye")
    await _enqueue(conn, globex)
    await deliveries.withdraw(conn, acme.id)
    mine = {mail["template"]: mail["state"] for mail in await deliveries.of_tenant(conn, acme.id)}
    assert mine == {"welcome": "sending", "goodbye": "failed"}
    (other,) = await deliveries.of_tenant(conn, globex.id)
    assert other["state"] == "queued"


@pytest.mark.parametrize("write", [deliveries.intend, _sent, _postponed])
async def test_a_sender_whose_mail_was_withdrawn_cannot_queue_or_send_it(
    conn: AsyncConnection, acme: Accepted, write: Any
) -> None:
    await _enqueue(conn, acme)
    late = await _claim(conn)
    await deliveries.withdraw(conn, acme.id)
    before = await _row(conn)
    with pytest.raises(LeaseLost):
        await write(conn, late)
    assert await _row(conn) == before
    assert (before.state, before.last_error["code"]) == ("failed", "tenant_deleted")
    await _lease_runs_out(conn)
    assert await deliveries.claim(conn, ttl_s=30) is None


async def test_a_mail_that_was_not_sent_has_no_date_of_sending(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await _enqueue(conn, acme)
    with pytest.raises(IntegrityError, match="ck_email_deliveries_sent"):
        await _set(conn, sent_at=text("now()"))


@pytest.fixture
async def two_senders(
    control: AsyncEngine,
) -> AsyncIterator[tuple[AsyncConnection, AsyncConnection]]:
    """Two transactions at once, with two mails due."""
    async with control.begin() as conn:
        for name in ("acme", "globex"):
            await _enqueue(conn, await accept(conn, name))
    async with control.connect() as first, control.connect() as second:
        yield first, second


async def test_two_senders_never_claim_the_same_mail(
    two_senders: tuple[AsyncConnection, AsyncConnection],
) -> None:
    first, second = two_senders
    claimed = {(await _claim(first)).id, (await _claim(second)).id}
    assert len(claimed) == 2
    assert await deliveries.claim(second, ttl_s=30) is None


async def test_a_sender_that_dies_before_its_commit_leaves_the_mail_to_others(
    two_senders: tuple[AsyncConnection, AsyncConnection],
) -> None:
    first, second = two_senders
    claimed = await _claim(first)
    await first.rollback()
    assert claimed.id in {(await _claim(second)).id, (await _claim(second)).id}


def test_neither_the_mail_nor_a_token_has_a_column() -> None:
    assert not {"subject", "body", "html", "text", "token"} & set(outbox.columns.keys())
