"""A repeated request finds the first one's operation, and never makes a second."""

from uuid import UUID

import pytest
from sqlalchemy import text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from controlplane.errors import IdempotencyInFlight, IdempotencyKeyReused
from controlplane.store import idempotency
from controlplane.store.idempotency import fingerprint
from controlplane.store.operation_tables import idempotency_keys
from tests.integration.store.conftest import Accepted, accept

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]

ADA, BOB = UUID(int=1), UUID(int=2)
MARK = fingerprint("POST", "/api/admin/tenants", b"{}")
OTHER = fingerprint("POST", "/api/admin/tenants", b"[]")


async def _remember(conn: AsyncConnection, accepted: Accepted) -> None:
    await idempotency.remember(
        conn, principal=ADA, key="k1", mark=MARK, operation_id=accepted.operation
    )


async def _earlier(
    conn: AsyncConnection, *, principal: UUID = ADA, key: str = "k1", mark: bytes = MARK
) -> UUID | None:
    return await idempotency.earlier(conn, principal=principal, key=key, mark=mark)


async def test_a_new_key_finds_nothing(conn: AsyncConnection) -> None:
    assert await _earlier(conn) is None


async def test_a_repeated_request_finds_the_first_ones_operation(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await _remember(conn, acme)
    assert await _earlier(conn) == acme.operation


async def test_another_request_with_the_key_is_refused(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await _remember(conn, acme)
    with pytest.raises(IdempotencyKeyReused):
        await _earlier(conn, mark=OTHER)


@pytest.mark.parametrize(("principal", "key"), [(BOB, "k1"), (ADA, "k2"), (ADA, "K1")])
async def test_a_key_is_its_senders_own(
    conn: AsyncConnection, acme: Accepted, principal: UUID, key: str
) -> None:
    await _remember(conn, acme)
    assert await _earlier(conn, principal=principal, key=key, mark=OTHER) is None


async def test_a_key_is_forgotten_after_a_day_whatever_it_was_used_for(
    conn: AsyncConnection, acme: Accepted, globex: Accepted
) -> None:
    await _remember(conn, acme)
    row = await conn.execute(text("SELECT expires_at - now() FROM public.idempotency_keys"))
    assert 23.9 < row.scalar_one().total_seconds() / 3600 < 24.1
    await conn.execute(update(idempotency_keys).values(expires_at=text("now()")))
    assert await _earlier(conn, mark=OTHER) is None
    await _remember(conn, globex)
    assert await _earlier(conn) == globex.operation


async def test_a_key_is_entered_once(conn: AsyncConnection, acme: Accepted) -> None:
    await _remember(conn, acme)
    with pytest.raises(IntegrityError, match="pk_idempotency_keys"):
        await _remember(conn, acme)


async def test_the_second_is_sent_away_while_the_first_is_not_answered(
    control: AsyncEngine,
) -> None:
    async with control.begin() as first, control.begin() as second:
        assert await _earlier(first) is None
        with pytest.raises(IdempotencyInFlight) as caught:
            await _earlier(second)
        assert caught.value.retry_after == 1
        # Other keys, and other people's, are not held up.
        assert await _earlier(second, key="k2") is None
        assert await _earlier(second, principal=BOB) is None


async def test_once_the_first_is_committed_the_second_finds_it(control: AsyncEngine) -> None:
    async with control.begin() as first:
        assert await _earlier(first) is None
        accepted = await accept(first, "acme")
        await _remember(first, accepted)
    async with control.begin() as second:
        assert await _earlier(second) == accepted.operation


async def test_a_first_request_that_failed_leaves_the_key_free(control: AsyncEngine) -> None:
    async with control.connect() as first:
        assert await _earlier(first) is None
        await _remember(first, await accept(first, "acme"))
        await first.rollback()
    async with control.begin() as second:
        assert await _earlier(second, mark=OTHER) is None
