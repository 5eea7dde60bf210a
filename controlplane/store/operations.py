"""Rows of operations, their steps and events as the API shows them, and the first of them.

Functions take a connection and never commit. What a worker writes is in provisioning/journal.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, func, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.operations import OperationState, StepState
from controlplane.errors import OperationInProgress, OperationNotFound
from controlplane.store.operation_tables import operation_events, operation_steps, operations

EVENTS_CHANNEL = "controlplane_events"
OPERATIONS_CHANNEL = "controlplane_operations"


@dataclass(frozen=True)
class StepView:
    name: str
    state: StepState
    attempt: int
    undo_attempt: int
    last_error: dict[str, Any] | None
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True)
class OperationView:
    """An operation with its steps, as read; `error` is {"code", "detail", …}."""

    id: UUID
    tenant_id: UUID
    kind: str
    state: OperationState
    steps: tuple[StepView, ...]
    error: dict[str, Any] | None
    cancel_requested: bool
    created_at: datetime
    deadline_at: datetime
    finished_at: datetime | None
    run_at: datetime


@dataclass(frozen=True)
class Event:
    """`seq` counts from 1 without a gap within its operation."""

    seq: int
    at: datetime
    epoch: int
    step: str | None
    type: str
    data: dict[str, Any]


async def add(
    conn: AsyncConnection,
    *,
    operation_id: UUID,
    tenant_id: UUID,
    kind: str,
    plan: dict[str, Any],
    plan_version: int,
    params: dict[str, Any],
    requested_by: UUID | None,
    deadline_s: float,
) -> None:
    """Enter an operation with its steps and first event. `plan` is its pinned form.

    Raises OperationInProgress while the tenant has another that has not ended.
    """
    row = insert(operations).values(
        id=operation_id,
        tenant_id=tenant_id,
        kind=kind,
        plan=plan,
        plan_version=plan_version,
        params=params,
        requested_by=requested_by,
        deadline_at=func.clock_timestamp() + timedelta(seconds=deadline_s),
    )
    try:
        await conn.execute(row)
    except IntegrityError as error:
        if "uq_operations_live" not in str(error.orig):
            raise
        raise OperationInProgress(
            "The tenant has an operation that has not ended; wait for it or cancel it."
        ) from error
    await conn.execute(
        insert(operation_steps),
        [
            {"operation_id": operation_id, "ordinal": i, "name": step["name"]}
            for i, step in enumerate(plan["steps"])
        ],
    )
    await add_event(conn, operation_id, "accepted", {"kind": kind})
    await conn.execute(select(func.pg_notify(OPERATIONS_CHANNEL, str(operation_id))))


async def add_event(
    conn: AsyncConnection,
    operation_id: UUID,
    kind: str,
    told: dict[str, Any],
    *,
    step: str | None = None,
) -> None:
    """Append an event that no worker writes; its number is taken under the row's lock."""
    taken = (
        update(operations)
        .where(operations.c.id == operation_id)
        .values(event_seq=operations.c.event_seq + 1)
        .returning(operations.c.event_seq, operations.c.epoch)
    )
    seq, epoch = (await conn.execute(taken)).one()
    await conn.execute(
        insert(operation_events).values(
            operation_id=operation_id, seq=seq, epoch=epoch, step=step, type=kind, data=told
        )
    )
    await conn.execute(select(func.pg_notify(EVENTS_CHANNEL, str(operation_id))))


async def get(conn: AsyncConnection, operation_id: UUID, *, lock: bool = False) -> OperationView:
    """Raises OperationNotFound. `lock` holds the operation against its worker until the commit."""
    query = select(operations).where(operations.c.id == operation_id)
    if lock:
        query = query.with_for_update(key_share=True)
    found = await _views(conn, query)
    if not found:
        raise OperationNotFound(f"There is no operation with the id {operation_id}.")
    return found[0]


async def page(
    conn: AsyncConnection,
    *,
    limit: int,
    after: tuple[datetime, UUID] | None = None,
    tenant_id: UUID | None = None,
    state: OperationState | None = None,
    kind: str | None = None,
) -> list[OperationView]:
    """Newest first, from behind the (created_at, id) of the last one seen."""
    c = operations.c
    query = select(operations).order_by(c.created_at.desc(), c.id.desc()).limit(limit)
    if after is not None:
        query = query.where(tuple_(c.created_at, c.id) < after)
    if tenant_id is not None:
        query = query.where(c.tenant_id == tenant_id)
    if state is not None:
        query = query.where(c.state == state)
    if kind is not None:
        query = query.where(c.kind == kind)
    return await _views(conn, query)


async def _views(conn: AsyncConnection, query: Select[Any]) -> list[OperationView]:
    rows = (await conn.execute(query)).all()
    c = operation_steps.c
    of_these = c.operation_id.in_([row.id for row in rows])
    steps: dict[UUID, list[StepView]] = {row.id: [] for row in rows}
    found = await conn.execute(select(operation_steps).where(of_these).order_by(c.ordinal))
    for step in found:
        steps[step.operation_id].append(_step(step))
    return [_operation(row, steps[row.id]) for row in rows]


def _step(row: Row[Any]) -> StepView:
    return StepView(
        name=row.name,
        state=StepState(row.state),
        attempt=row.attempt,
        undo_attempt=row.undo_attempt,
        last_error=row.last_error,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


def _operation(row: Row[Any], steps: Sequence[StepView]) -> OperationView:
    return OperationView(
        id=row.id,
        tenant_id=row.tenant_id,
        kind=row.kind,
        state=OperationState(row.state),
        steps=tuple(steps),
        error=row.error,
        cancel_requested=row.cancel_requested_at is not None,
        created_at=row.created_at,
        deadline_at=row.deadline_at,
        finished_at=row.finished_at,
        run_at=row.run_at,
    )


async def events(
    conn: AsyncConnection, operation_id: UUID, *, after: int = 0, limit: int = 500
) -> list[Event]:
    """The events behind number `after`, in order."""
    c = operation_events.c
    rows = await conn.execute(
        select(c.seq, c.at, c.epoch, c.step, c.type, c.data)
        .where(c.operation_id == operation_id, c.seq > after)
        .order_by(c.seq)
        .limit(limit)
    )
    return [Event(**row._mapping) for row in rows]  # noqa: SLF001  SQLAlchemy's public name
