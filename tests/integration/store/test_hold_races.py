"""What claims of a name and its release do to each other at the same time."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from controlplane.domain.naming import Subdomain
from controlplane.domain.tenants import HoldReason, TenantState
from controlplane.errors import (
    Conflict,
    SubdomainQuarantined,
    SubdomainTaken,
)
from controlplane.store import holds, tenants
from tests.integration.store.conftest import Accepted, accept
from tests.integration.store.lives import activate, rename

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


async def _committed(control: AsyncEngine, name: str) -> Accepted:
    async with control.begin() as conn:
        accepted = await accept(conn, name)
        await activate(conn, accepted)
    return accepted


async def _create(conn: AsyncConnection, _mine: Accepted) -> None:
    await accept(conn, "wanted")


async def _take(conn: AsyncConnection, mine: Accepted) -> None:
    await rename(conn, mine.id, "wanted")


Claim = Callable[[AsyncConnection, Accepted], Coroutine[Any, Any, None]]


@pytest.mark.parametrize("first", [_create, _take])
@pytest.mark.parametrize("second", [_create, _take])
@pytest.mark.parametrize("commits", [True, False])
async def test_of_two_claims_at_once_the_second_waits_and_is_refused_if_the_first_commits(
    control: AsyncEngine, first: Claim, second: Claim, *, commits: bool
) -> None:
    acme, globex = await _committed(control, "acme"), await _committed(control, "globex")
    async with control.connect() as one, control.connect() as other, control.connect() as eye:
        await other.execute(text("SELECT 1"))  # its transaction is older than the claim
        await first(one, acme)
        late = asyncio.create_task(second(other, globex))
        try:
            await _until_it_waits(eye, late)
            await (one.commit() if commits else one.rollback())
            if commits:
                with pytest.raises(SubdomainTaken):
                    await late
            else:
                await late
        finally:
            late.cancel()
            await asyncio.gather(late, return_exceptions=True)


async def _until_it_waits(eye: AsyncConnection, late: asyncio.Task[None]) -> None:
    async with asyncio.timeout(60):
        while not (await eye.execute(text(_WAITERS))).scalar_one():
            assert not late.done(), "it did not wait for the lock"
            await eye.rollback()


_WAITERS = """
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@pytest.mark.parametrize("claim", [_create, _take])
async def test_a_claim_finds_a_name_that_is_let_go_of_had_or_held_and_never_free(
    control: AsyncEngine, claim: Claim
) -> None:
    gone, mine = await _committed_wanted(control), await _committed(control, "acme")
    async with control.connect() as letting, control.connect() as claiming:
        await claiming.execute(text("SELECT 1"))
        await _let_go(letting, gone)
        with pytest.raises(SubdomainTaken):
            await claim(claiming, mine)
        await letting.commit()
        with pytest.raises(SubdomainQuarantined):
            await claim(claiming, mine)


async def test_whatever_the_order_nobody_slips_in_while_a_name_is_let_go_of(
    control: AsyncEngine,
) -> None:
    gone = await _committed_wanted(control)

    async def claim() -> str:
        async with control.connect() as conn:
            try:
                await accept(conn, "wanted")
            except Conflict as refused:
                return refused.code
            await conn.commit()
            return "claimed"

    async def let_go() -> str:
        async with control.begin() as conn:
            await _let_go(conn, gone)
        return "let go"

    done = await asyncio.gather(
        *(claim() for _ in range(6)), let_go(), *(claim() for _ in range(6))
    )
    assert set(done) <= {"subdomain_taken", "subdomain_quarantined", "let go"}


async def _committed_wanted(control: AsyncEngine) -> Accepted:
    accepted = await _committed(control, "wanted")
    async with control.begin() as conn:
        for state in (TenantState.DELETING, TenantState.DELETED, TenantState.PURGING):
            await tenants.set_state(conn, accepted.id, state)
    return accepted


async def _let_go(conn: AsyncConnection, accepted: Accepted) -> None:
    await tenants.set_state(conn, accepted.id, TenantState.PURGED)
    await holds.quarantine(
        conn, Subdomain("wanted"), accepted.id, why=HoldReason.RELEASED, lasting=timedelta(days=30)
    )
