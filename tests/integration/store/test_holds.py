"""Who may claim a name, from whom it is kept and for how long, and what claims do to each other."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from controlplane.domain.naming import Subdomain
from controlplane.domain.operations import OperationState
from controlplane.domain.tenants import HoldReason, TenantState
from controlplane.errors import (
    Conflict,
    InvalidState,
    SubdomainQuarantined,
    SubdomainTaken,
    ValidationFailed,
)
from controlplane.provisioning import lifecycle, requests
from controlplane.provisioning.quarantine import release_name
from controlplane.store import holds, tenants
from controlplane.store.operation_tables import operations, tenant_resources
from controlplane.store.tables import audit_log
from controlplane.store.tenant_tables import subdomain_holds
from tests.integration.store.conftest import ADMIN, Accepted, accept

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]

ACME = Subdomain("acme")
DAYS = timedelta(days=30)


async def _active(conn: AsyncConnection, accepted: Accepted) -> None:
    """As a worker would leave it."""
    await _end(conn, accepted.operation)
    await tenants.set_state(conn, accepted.id, TenantState.ACTIVE)


async def _end(conn: AsyncConnection, operation_id: UUID) -> None:
    for state in (OperationState.RUNNING, OperationState.SUCCEEDED):
        ended = text("now()") if state is OperationState.SUCCEEDED else None
        await conn.execute(
            update(operations)
            .where(operations.c.id == operation_id)
            .values(state=state, finished_at=ended)
        )


async def _release(
    conn: AsyncConnection, accepted: Accepted, lasting: timedelta = DAYS, name: str = "acme"
) -> None:
    """As the last step of a purge does."""
    await _active(conn, accepted)
    for state in (TenantState.DELETING, TenantState.DELETED, TenantState.PURGING):
        await tenants.set_state(conn, accepted.id, state)
    await tenants.set_state(conn, accepted.id, TenantState.PURGED)
    await holds.quarantine(
        conn, Subdomain(name), accepted.id, why=HoldReason.RELEASED, lasting=lasting
    )


async def _rename(conn: AsyncConnection, tenant_id: UUID, name: str) -> UUID:
    view = await lifecycle.rename(
        conn, tenant_id, subdomain=Subdomain(name), actor=ADMIN, deadline_s=60
    )
    return view.id


async def test_a_name_that_nobody_has_is_free(conn: AsyncConnection) -> None:
    await holds.claim(conn, ACME, uuid4())
    assert await holds.of(conn, ACME) == []


async def test_a_released_name_is_kept_from_others_and_says_until_when_but_not_by_whom(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await _release(conn, acme)
    with pytest.raises(SubdomainQuarantined) as caught:
        await accept(conn, "acme")
    (hold,) = await holds.of(conn, ACME)
    assert hold.until is not None
    assert f"{hold.until + timedelta(seconds=1):%Y-%m-%dT%H:%M}" in str(caught.value)
    assert "choose another" in str(caught.value)
    assert str(acme.id) not in str(caught.value)
    await accept(conn, "acme-2")


async def test_its_own_quarantine_does_not_keep_a_tenant_out(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await holds.quarantine(
        conn, Subdomain("acme-old"), acme.id, why=HoldReason.RELEASED, lasting=DAYS
    )
    await holds.claim(conn, Subdomain("acme-old"), acme.id)
    with pytest.raises(SubdomainQuarantined):
        await holds.claim(conn, Subdomain("acme-old"), uuid4())


async def test_when_its_time_is_over_a_name_is_free_whether_or_not_it_was_swept(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await _release(conn, acme, timedelta(0))
    assert await holds.of(conn, ACME) == []
    heir = await accept(conn, "acme")
    await holds.forget_expired(conn)
    assert (await conn.execute(select(subdomain_holds))).all() == []
    assert (await tenants.get(conn, heir.id)).subdomain == "acme"


async def test_the_sweep_forgets_only_what_is_over(conn: AsyncConnection, acme: Accepted) -> None:
    for name, lasting in [("over", timedelta(0)), ("lasting", DAYS)]:
        await holds.quarantine(
            conn, Subdomain(name), acme.id, why=HoldReason.UNDONE, lasting=lasting
        )
    await holds.reserve(conn, Subdomain("reserved"), acme.id)
    await holds.forget_expired(conn)
    left = await conn.execute(select(subdomain_holds.c.subdomain))
    assert set(left.scalars()) == {"lasting", "reserved"}


async def test_holding_again_never_shortens_a_hold(conn: AsyncConnection, acme: Accepted) -> None:
    for lasting in (DAYS, timedelta(seconds=1)):
        await holds.quarantine(conn, ACME, acme.id, why=HoldReason.UNDONE, lasting=lasting)
    (hold,) = await holds.of(conn, ACME)
    assert hold.until is not None
    assert hold.until - hold.created_at > timedelta(days=29)


async def test_a_hold_that_is_over_passes_to_the_next_who_lets_go(
    conn: AsyncConnection, acme: Accepted, globex: Accepted
) -> None:
    for tenant_id, lasting in [(acme.id, timedelta(0)), (globex.id, DAYS)]:
        await holds.quarantine(
            conn, Subdomain("x-name"), tenant_id, why=HoldReason.UNDONE, lasting=lasting
        )
    (hold,) = await holds.of(conn, Subdomain("x-name"))
    assert hold.tenant_id == globex.id


async def test_the_name_of_a_failed_tenant_is_kept_for_it_alone(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await _end(conn, acme.operation)
    await tenants.set_state(conn, acme.id, TenantState.FAILED)
    await holds.quarantine(conn, ACME, acme.id, why=HoldReason.UNDONE, lasting=DAYS)
    with pytest.raises(SubdomainQuarantined):
        await accept(conn, "acme")
    await requests.provision_again(conn, acme.id, actor=ADMIN, deadline_s=60)
    assert await holds.of(conn, ACME) == []
    with pytest.raises(SubdomainTaken):
        await accept(conn, "acme")


async def test_a_rename_reserves_its_name_and_takes_nobodys(
    conn: AsyncConnection, acme: Accepted, globex: Accepted
) -> None:
    await _active(conn, acme)
    await _active(conn, globex)
    await _rename(conn, acme.id, "acme-new")
    with pytest.raises(SubdomainTaken):
        await accept(conn, "acme-new")
    for name in ("acme", "acme-new"):
        with pytest.raises(SubdomainTaken):
            await _rename(conn, globex.id, name)
    log = select(audit_log).where(audit_log.c.action == "tenant.rename")
    (row,) = await conn.execute(log)
    assert (row.tenant_id, row.after) == (acme.id, {"subdomain": "acme-new", "old": "acme"})


async def test_a_rename_to_the_name_that_a_tenant_has_is_refused(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await _active(conn, acme)
    with pytest.raises(ValidationFailed) as caught:
        await _rename(conn, acme.id, "acme")
    assert [(f.pointer, f.code) for f in caught.value.faults] == [("/subdomain", "unchanged")]


@pytest.mark.parametrize("way", [(), ("deleting", "deleted"), ("deleting",)])
async def test_only_a_served_tenant_is_renamed(
    conn: AsyncConnection, acme: Accepted, way: tuple[str, ...]
) -> None:
    await _end(conn, acme.operation)
    await tenants.set_state(conn, acme.id, TenantState.ACTIVE if way else TenantState.FAILED)
    for state in way:
        await tenants.set_state(conn, acme.id, TenantState(state))
    with pytest.raises(InvalidState, match="renamed"):
        await _rename(conn, acme.id, "acme-new")
    assert await holds.of(conn, Subdomain("acme-new")) == []


async def test_a_record_that_may_be_there_keeps_a_name_when_no_hold_does(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await _release(conn, acme, timedelta(0))
    await conn.execute(
        tenant_resources.insert().values(
            tenant_id=acme.id, kind="dns", external_id="acme", operation_id=acme.operation
        )
    )
    with pytest.raises(SubdomainQuarantined, match="record"):
        await accept(conn, "acme")


async def test_an_operator_gives_a_name_free_before_its_time_and_on_record(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await _release(conn, acme)
    await conn.execute(
        tenant_resources.insert().values(
            tenant_id=acme.id, kind="dns", external_id="acme", operation_id=acme.operation
        )
    )
    (ended,) = await release_name(conn, ACME, actor=ADMIN)
    assert (ended.tenant_id, ended.why) == (acme.id, "released")
    (row,) = await conn.execute(select(audit_log).where(audit_log.c.action == "subdomain.release"))
    assert (row.target, row.actor) == ("acme", ADMIN.id)
    assert row.before == {
        "holds": [{"why": "released", "tenant_id": str(acme.id)}],
        "records_of": [str(acme.id)],
    }
    assert await release_name(conn, ACME, actor=ADMIN) == []
    await accept(conn, "acme")


async def test_a_record_alone_that_is_given_up_is_on_record(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await _release(conn, acme, timedelta(0))
    await conn.execute(
        tenant_resources.insert().values(
            tenant_id=acme.id, kind="dns", external_id="acme", operation_id=acme.operation
        )
    )
    assert await release_name(conn, ACME, actor=ADMIN) == []
    (row,) = await conn.execute(select(audit_log).where(audit_log.c.action == "subdomain.release"))
    assert row.before == {"holds": [], "records_of": [str(acme.id)]}
    await accept(conn, "acme")


async def test_a_rename_that_ended_without_its_hold_is_asked_for_again_or_given_free(
    conn: AsyncConnection, acme: Accepted
) -> None:
    """As after an abandon by a release that knew no holds."""
    await _active(conn, acme)
    await _end(conn, await _rename(conn, acme.id, "acme-new"))
    operation_id = await _rename(conn, acme.id, "acme-new")
    with pytest.raises(InvalidState, match="at work"):
        await release_name(conn, Subdomain("acme-new"), actor=ADMIN)
    await _end(conn, operation_id)
    (ended,) = await release_name(conn, Subdomain("acme-new"), actor=ADMIN)
    assert ended.why == "rename"
    await accept(conn, "acme-new")


async def test_no_operator_gives_a_name_free_while_an_operation_is_at_work_on_it(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await _active(conn, acme)
    operation_id = await _rename(conn, acme.id, "acme-new")
    with pytest.raises(InvalidState, match="at work"):
        await release_name(conn, Subdomain("acme-new"), actor=ADMIN)
    # Behind its pivot: the old name is held, and its record is on the way out.
    await holds.quarantine(conn, Subdomain("gone"), acme.id, why=HoldReason.RELEASED, lasting=DAYS)
    await conn.execute(
        tenant_resources.insert().values(
            tenant_id=acme.id, kind="dns", external_id="gone", operation_id=operation_id
        )
    )
    with pytest.raises(InvalidState, match="at work"):
        await release_name(conn, Subdomain("gone"), actor=ADMIN)


async def test_giving_free_leaves_the_record_of_the_tenant_that_has_the_name(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await _active(conn, acme)
    row = {"kind": "dns", "external_id": "acme", "operation_id": acme.operation}
    await conn.execute(tenant_resources.insert().values(tenant_id=acme.id, **row))
    assert await release_name(conn, ACME, actor=ADMIN) == []
    assert len((await conn.execute(select(tenant_resources))).all()) == 1


# -- at the same time ------------------------------------------------------------------------------


async def _committed(control: AsyncEngine, name: str) -> Accepted:
    async with control.begin() as conn:
        accepted = await accept(conn, name)
        await _active(conn, accepted)
    return accepted


async def _create(conn: AsyncConnection, _mine: Accepted) -> None:
    await accept(conn, "wanted")


async def _take(conn: AsyncConnection, mine: Accepted) -> None:
    await _rename(conn, mine.id, "wanted")


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
        conn, Subdomain("wanted"), accepted.id, why=HoldReason.RELEASED, lasting=DAYS
    )
