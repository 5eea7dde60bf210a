"""What is asked of the engine is accepted whole or not at all, and leaves a line in the audit log."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.operations import OperationState, StepState
from controlplane.domain.tenants import TenantState
from controlplane.errors import (
    InvalidState,
    OperationInProgress,
    OperationNotFound,
    SubdomainTaken,
    TenantNotFound,
)
from controlplane.provisioning import requests
from controlplane.store import operations, tenants
from controlplane.store.operation_tables import operation_steps
from controlplane.store.operation_tables import operations as table
from controlplane.store.operations import OperationView
from controlplane.store.tables import audit_log, metadata
from tests.integration.store.conftest import ADMIN, Accepted, accept

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]

Ask = Callable[[AsyncConnection, UUID], Awaitable[OperationView]]
NOBODY = UUID(int=1)


async def _delete(conn: AsyncConnection, tenant_id: UUID) -> OperationView:
    return await requests.delete_tenant(conn, tenant_id, actor=ADMIN, deadline_s=60)


async def _provision(conn: AsyncConnection, tenant_id: UUID) -> OperationView:
    return await requests.provision_again(conn, tenant_id, actor=ADMIN, deadline_s=60)


async def _cancel(conn: AsyncConnection, operation_id: UUID) -> OperationView:
    return await requests.cancel(conn, operation_id, actor=ADMIN)


async def _resume(conn: AsyncConnection, operation_id: UUID) -> OperationView:
    return await requests.resume(conn, operation_id, actor=ADMIN)


async def _abandon(conn: AsyncConnection, operation_id: UUID) -> OperationView:
    return await requests.abandon(
        conn,
        operation_id,
        reason="zone gone",
        comment="seen",
        by="ada",
        quarantine=timedelta(days=30),
        actor=ADMIN,
    )


async def _move(conn: AsyncConnection, accepted: Accepted, *states: str) -> None:
    """Take an operation through states, as a worker would."""
    for state in states:
        over = state in {"succeeded", "failed", "cancelled"}
        await conn.execute(
            update(table)
            .where(table.c.id == accepted.operation)
            .values(state=state, finished_at=func.now() if over else None)
        )


async def _step(conn: AsyncConnection, accepted: Accepted, name: str, **values: Any) -> None:
    c = operation_steps.c
    await conn.execute(
        update(operation_steps)
        .where(c.operation_id == accepted.operation, c.name == name)
        .values(**values)
    )


async def _active(conn: AsyncConnection, accepted: Accepted) -> None:
    await _move(conn, accepted, "running", "succeeded")
    await tenants.set_state(conn, accepted.id, TenantState.ACTIVE)


async def _failed(conn: AsyncConnection, accepted: Accepted) -> None:
    await _move(conn, accepted, "running", "unwinding", "failed")
    await tenants.set_state(conn, accepted.id, TenantState.FAILED)


async def _audit(conn: AsyncConnection) -> list[Any]:
    return list(await conn.execute(select(audit_log).order_by(audit_log.c.at)))


# The API's login has no right to them.
_OF_WORKERS = {"rollout_positions"}


async def _world(conn: AsyncConnection) -> dict[str, list[Any]]:
    """Every row of every table that a request can touch."""
    return {
        one.name: sorted(map(str, await conn.execute(one.select())))
        for one in metadata.sorted_tables
        if one.name not in _OF_WORKERS
    }


async def test_an_accepted_tenant_is_a_row_an_operation_its_steps_and_an_event(
    conn: AsyncConnection, acme: Accepted
) -> None:
    world = await _world(conn)
    counts = {name: len(rows) for name, rows in world.items() if rows}
    assert counts == {
        "audit_log": 1,
        "installation": 1,
        "operation_events": 1,
        "operation_steps": 5,
        "operations": 1,
        "system_config": 1,
        "tenant_changes": 1,
        "tenants": 1,
    }
    assert (await tenants.get(conn, acme.id)).state is TenantState.PROVISIONING


async def test_the_audit_log_tells_who_asked_from_where_for_what(
    conn: AsyncConnection, acme: Accepted
) -> None:
    (row,) = await _audit(conn)
    assert (row.actor, row.actor_kind, row.action) == (ADMIN.id, "admin", "tenant.create")
    assert (row.tenant_id, row.outcome) == (acme.id, "ok")
    assert (row.request_id, row.ip, row.agent) == ("req-1", "192.0.2.9", "curl")
    assert row.after == {"name": "Acme", "subdomain": "acme", "tier": "starter"}


async def test_a_refused_tenant_leaves_nothing_behind(conn: AsyncConnection) -> None:
    await accept(conn, "acme")
    before = await _world(conn)
    with pytest.raises(SubdomainTaken):
        async with conn.begin_nested():
            await accept(conn, "acme")
    assert await _world(conn) == before


@pytest.mark.parametrize("state", [TenantState.ACTIVE, TenantState.SUSPENDED])
async def test_a_tenant_at_rest_can_be_deleted_and_is_refused_at_once(
    conn: AsyncConnection, acme: Accepted, state: TenantState
) -> None:
    await _active(conn, acme)
    if state is TenantState.SUSPENDED:
        await tenants.set_state(conn, acme.id, state)
    operation = await _delete(conn, acme.id)
    assert [step.name for step in operation.steps] == ["dns", "sessions", "retire"]
    assert (await tenants.get(conn, acme.id)).state is TenantState.DELETING
    params = select(table.c.params).where(table.c.id == operation.id)
    assert (await conn.execute(params)).scalar_one() == {"from_state": state}
    assert (await _audit(conn))[-1].before == {"state": state}


async def test_deleting_a_failed_tenant_purges_it_and_leaves_its_name_free_meanwhile(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await _failed(conn, acme)
    operation = await _delete(conn, acme.id)
    assert operation.kind == "purge"
    assert [step.name for step in operation.steps] == ["condemn", "dns", "schema", "bury"]
    assert (await tenants.get(conn, acme.id)).state is TenantState.FAILED
    await accept(conn, "acme")


async def test_deleting_again_answers_with_the_operation_that_deletes(
    conn: AsyncConnection, acme: Accepted
) -> None:
    # In one transaction now() stands still, and the newest is asked for.
    await conn.execute(text("UPDATE public.operations SET created_at = now() - interval '1 day'"))
    await _active(conn, acme)
    first = await _delete(conn, acme.id)
    before = await _world(conn)
    assert await _delete(conn, acme.id) == first
    assert await _world(conn) == before


async def test_a_tenant_that_is_being_provisioned_cannot_be_deleted(
    conn: AsyncConnection, acme: Accepted
) -> None:
    with pytest.raises(OperationInProgress, match="'provision' has not ended"):
        await _delete(conn, acme.id)


async def test_a_failed_tenant_is_provisioned_again_by_a_new_operation(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await _failed(conn, acme)
    operation = await _provision(conn, acme.id)
    assert operation.id != acme.operation
    assert (await tenants.get(conn, acme.id)).state is TenantState.PROVISIONING
    assert (await _audit(conn))[-1].action == "tenant.provision"


async def test_only_a_failed_tenant_is_provisioned_again(
    conn: AsyncConnection, acme: Accepted, globex: Accepted
) -> None:
    await _active(conn, acme)
    with pytest.raises(InvalidState, match="is active"):
        await _provision(conn, acme.id)
    with pytest.raises(OperationInProgress):
        await _provision(conn, globex.id)


async def test_a_failed_tenant_whose_subdomain_is_taken_stays_failed(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await _failed(conn, acme)
    await accept(conn, "acme")
    before = await _world(conn)
    with pytest.raises(SubdomainTaken):
        async with conn.begin_nested():
            await _provision(conn, acme.id)
    assert await _world(conn) == before


@pytest.mark.parametrize("states", [(), ("running",)])
async def test_cancelling_is_written_down_once_and_the_worker_turns_round(
    conn: AsyncConnection, acme: Accepted, states: tuple[str, ...]
) -> None:
    await _move(conn, acme, *states)
    assert (await _cancel(conn, acme.operation)).cancel_requested
    before = await _world(conn)
    assert (await _cancel(conn, acme.operation)).cancel_requested
    assert await _world(conn) == before
    (*_, event) = await operations.events(conn, acme.operation)
    assert event.type == "cancel_requested"
    assert (await _audit(conn))[-1].action == "operation.cancel_requested"


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
    await _move(conn, acme, *states)
    with pytest.raises(InvalidState, match=states[-1]):
        await _cancel(conn, acme.operation)


async def test_behind_the_pivot_nothing_is_cancelled(conn: AsyncConnection, acme: Accepted) -> None:
    await _move(conn, acme, "running")
    await _step(conn, acme, "activate", state=StepState.DONE)
    with pytest.raises(InvalidState, match="passed the point"):
        await _cancel(conn, acme.operation)


@pytest.mark.parametrize(
    ("pivot", "state"), [(False, OperationState.UNWINDING), (True, OperationState.RUNNING)]
)
async def test_a_parked_operation_goes_on_the_way_it_went_with_a_fresh_budget(
    conn: AsyncConnection, acme: Accepted, *, pivot: bool, state: OperationState
) -> None:
    await _move(conn, acme, "running")
    await _step(conn, acme, "dns", state=StepState.STARTED, undo_attempt=8)
    if pivot:
        await _step(conn, acme, "activate", state=StepState.DONE)
    await _move(conn, acme, "parked")
    operation = await _resume(conn, acme.operation)
    assert operation.state is state
    assert {step.undo_attempt for step in operation.steps} == {0}
    assert (await _audit(conn))[-1].action == "operation.resumed"


async def test_an_abandoned_operation_says_why_and_the_tenant_is_failed(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await _move(conn, acme, "running", "unwinding", "parked")
    operation = await _abandon(conn, acme.operation)
    assert operation.state is OperationState.ABANDONED
    assert operation.finished_at is not None
    assert (await tenants.get(conn, acme.id)).state is TenantState.FAILED
    row = (await conn.execute(table.select())).one()
    assert (row.abandon_reason, row.abandon_comment, row.abandoned_by) == (
        "zone gone",
        "seen",
        "ada",
    )
    assert (await _audit(conn))[-1].after == {"reason": "zone gone", "comment": "seen"}


async def test_an_abandoned_deletion_gives_the_tenant_back_as_it_was(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await _active(conn, acme)
    operation = await _delete(conn, acme.id)
    await _move(conn, Accepted(acme.id, operation.id), "running", "unwinding", "parked")
    await _abandon(conn, operation.id)
    assert (await tenants.get(conn, acme.id)).state is TenantState.ACTIVE


async def test_abandoning_behind_the_pivot_leaves_the_tenant_as_it_is(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await _move(conn, acme, "running")
    await _step(conn, acme, "activate", state=StepState.DONE)
    await tenants.set_state(conn, acme.id, TenantState.ACTIVE)
    await _move(conn, acme, "parked")
    await _abandon(conn, acme.operation)
    assert (await tenants.get(conn, acme.id)).state is TenantState.ACTIVE


@pytest.mark.parametrize("ask", [_resume, _abandon])
@pytest.mark.parametrize("states", [(), ("running",), ("running", "succeeded")])
async def test_only_a_parked_operation_is_resumed_or_abandoned(
    conn: AsyncConnection, acme: Accepted, ask: Ask, states: tuple[str, ...]
) -> None:
    await _move(conn, acme, *states)
    before = await _world(conn)
    with pytest.raises(InvalidState, match="only a parked one"):
        await ask(conn, acme.operation)
    assert await _world(conn) == before


@pytest.mark.parametrize("ask", [_delete, _provision])
async def test_an_unknown_tenant_is_refused(conn: AsyncConnection, ask: Ask) -> None:
    with pytest.raises(TenantNotFound):
        await ask(conn, NOBODY)


@pytest.mark.parametrize("ask", [_cancel, _resume, _abandon])
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
    await _cancel(conn, acme.operation)
    await _move(conn, acme, "running", "unwinding", "parked")
    await _resume(conn, acme.operation)
    await _move(conn, acme, "parked")
    await _abandon(conn, acme.operation)
    await _delete(conn, acme.id)
    assert await tenants.get(conn, globex.id) == tenant
    assert await operations.get(conn, globex.operation) == operation
