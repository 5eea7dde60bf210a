"""Operations are cancelled, resumed and abandoned while that can be, and never twice."""

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.operations import OperationState, StepState
from controlplane.domain.tenants import TenantState
from controlplane.errors import (
    InvalidState,
    OperationNotFound,
)
from controlplane.store import operations, tenants
from controlplane.store.operation_tables import operations as table
from tests.integration.store.conftest import Accepted
from tests.integration.store.lives import (
    NOBODY,
    Ask,
    abandon,
    activate,
    cancel,
    delete,
    move,
    resume,
    step,
)
from tests.integration.store.rows import audit, world

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


@pytest.mark.parametrize("states", [(), ("running",)])
async def test_cancelling_is_written_down_once_and_the_worker_turns_round(
    conn: AsyncConnection, acme: Accepted, states: tuple[str, ...]
) -> None:
    await move(conn, acme.operation, *states)
    assert (await cancel(conn, acme.operation)).cancel_requested
    before = await world(conn)
    assert (await cancel(conn, acme.operation)).cancel_requested
    assert await world(conn) == before
    (*_, event) = await operations.events(conn, acme.operation)
    assert event.type == "cancel_requested"
    assert (await audit(conn))[-1].action == "operation.cancel_requested"


@pytest.mark.parametrize(
    "states",
    [
        ("running", "succeeded"),
        ("running", "unwinding"),
        ("running", "unwinding", "failed"),
        ("running", "parked"),
    ],
)
async def test_there_is_nothing_to_cancel_once_it_ended_or_turned_round(
    conn: AsyncConnection, acme: Accepted, states: tuple[str, ...]
) -> None:
    await move(conn, acme.operation, *states)
    with pytest.raises(InvalidState, match=states[-1]):
        await cancel(conn, acme.operation)


async def test_behind_the_pivot_nothing_is_cancelled(conn: AsyncConnection, acme: Accepted) -> None:
    await move(conn, acme.operation, "running")
    await step(conn, acme.operation, "activate", state=StepState.DONE)
    with pytest.raises(InvalidState, match="passed the point"):
        await cancel(conn, acme.operation)


@pytest.mark.parametrize(
    ("pivot", "state"), [(False, OperationState.UNWINDING), (True, OperationState.RUNNING)]
)
async def test_a_parked_operation_goes_on_the_way_it_went_with_a_fresh_budget(
    conn: AsyncConnection, acme: Accepted, *, pivot: bool, state: OperationState
) -> None:
    await move(conn, acme.operation, "running")
    await step(conn, acme.operation, "dns", state=StepState.STARTED, undo_attempt=8)
    if pivot:
        await step(conn, acme.operation, "activate", state=StepState.DONE)
    await move(conn, acme.operation, "parked")
    operation = await resume(conn, acme.operation)
    assert operation.state is state
    assert {step.undo_attempt for step in operation.steps} == {0}
    assert (await audit(conn))[-1].action == "operation.resumed"


async def test_an_abandoned_operation_says_why_and_the_tenant_is_failed(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await move(conn, acme.operation, "running", "unwinding", "parked")
    operation = await abandon(conn, acme.operation)
    assert operation.state is OperationState.ABANDONED
    assert operation.finished_at is not None
    assert (await tenants.get(conn, acme.id)).state is TenantState.FAILED
    row = (await conn.execute(table.select())).one()
    assert (row.abandon_reason, row.abandon_comment, row.abandoned_by) == (
        "zone gone",
        "seen",
        "ada",
    )
    assert (await audit(conn))[-1].after == {"reason": "zone gone", "comment": "seen"}


async def test_an_abandoned_deletion_gives_the_tenant_back_as_it_was(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await activate(conn, acme)
    operation = await delete(conn, acme.id)
    await move(conn, operation.id, "running", "unwinding", "parked")
    await abandon(conn, operation.id)
    assert (await tenants.get(conn, acme.id)).state is TenantState.ACTIVE


async def test_abandoning_behind_the_pivot_leaves_the_tenant_as_it_is(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await move(conn, acme.operation, "running")
    await step(conn, acme.operation, "activate", state=StepState.DONE)
    await tenants.set_state(conn, acme.id, TenantState.ACTIVE)
    await move(conn, acme.operation, "parked")
    await abandon(conn, acme.operation)
    assert (await tenants.get(conn, acme.id)).state is TenantState.ACTIVE


@pytest.mark.parametrize("ask", [resume, abandon])
@pytest.mark.parametrize("states", [(), ("running",), ("running", "succeeded")])
async def test_only_a_parked_operation_is_resumed_or_abandoned(
    conn: AsyncConnection, acme: Accepted, ask: Ask, states: tuple[str, ...]
) -> None:
    await move(conn, acme.operation, *states)
    before = await world(conn)
    with pytest.raises(InvalidState, match="only a parked one"):
        await ask(conn, acme.operation)
    assert await world(conn) == before


@pytest.mark.parametrize("ask", [cancel, resume, abandon])
async def test_an_unknown_operation_is_refused(conn: AsyncConnection, ask: Ask) -> None:
    with pytest.raises(OperationNotFound):
        await ask(conn, NOBODY)


async def test_what_is_done_to_one_tenant_touches_no_other(
    conn: AsyncConnection, acme: Accepted, globex: Accepted
) -> None:
    tenant, operation = (
        await tenants.get(conn, globex.id),
        await operations.get(conn, globex.operation),
    )
    await cancel(conn, acme.operation)
    await move(conn, acme.operation, "running", "unwinding", "parked")
    await resume(conn, acme.operation)
    await move(conn, acme.operation, "parked")
    await abandon(conn, acme.operation)
    await delete(conn, acme.id)
    assert await tenants.get(conn, globex.id) == tenant
    assert await operations.get(conn, globex.operation) == operation
