"""Every write to operations, their steps and events: claim, fence, record, release, finish.

Each function takes a connection and never commits. A write is one statement that carries the
epoch; it changes nothing, and raises LeaseLost, once another worker has claimed the operation.
Only the database's clock is read: `clock_timestamp()`, for `now()` is when the transaction began.
"""

import json
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.operations import Operation, OperationState, StepRecord, StepState
from controlplane.errors import LeaseLost
from controlplane.provisioning.plans import plan_from_json
from controlplane.store import driver

# When the step `s` of the operation `o` is given up; null where its plan has no deadline for it,
# or it has no record yet. What it was told to queue (course.QUEUED) is no time of its own.
_UNTIL = """(s.started_at
  + make_interval(secs => (o.plan->'steps'->s.ordinal->>'deadline_s')::float8
    + coalesce((s.output->>'queued_s')::float8, 0)))"""

# The back-off of a crash loop is paid in advance: a worker that dies here leaves run_at moved on.
_CLAIM = """
WITH due AS (
  SELECT id FROM public.operations
  WHERE state IN ('pending', 'running', 'unwinding') AND run_at <= clock_timestamp()
    AND (lease_expires_at IS NULL OR lease_expires_at < clock_timestamp())
    AND kind || '/' || plan_version = ANY (%(plans)s)
  ORDER BY run_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), claimed AS (
  UPDATE public.operations o SET
    lease_owner = %(owner)s,
    lease_expires_at = clock_timestamp() + make_interval(secs => %(ttl)s),
    epoch = epoch + 1, attempt = attempt + 1,
    run_at = clock_timestamp()
      + least(power(2, least(attempt, 10)), 600) * random() * interval '1 second',
    -- The deadline is for the work, not for the queue: it runs from the first claim.
    deadline_at = CASE state WHEN 'pending'
      THEN clock_timestamp() + (deadline_at - created_at) ELSE deadline_at END,
    state = CASE state WHEN 'pending' THEN 'running' ELSE state END
  FROM due WHERE o.id = due.id RETURNING o.*
)
SELECT id, tenant_id, kind, plan, plan_version, params, state, error, epoch,
  cancel_requested_at IS NOT NULL AS cancel_requested,
  deadline_at <= clock_timestamp() AS overdue,
  (SELECT jsonb_agg(jsonb_build_object('name', name, 'state', state, 'attempt', attempt,
     'undo_attempt', undo_attempt, 'output', output,
     'overdue', coalesce({until} <= clock_timestamp(), false)) ORDER BY ordinal)
   FROM public.operation_steps s WHERE operation_id = o.id) AS steps
FROM claimed o
""".replace("{until}", _UNTIL)

# KEY SHARE lets the heartbeat pass and stops a thief's FOR UPDATE SKIP LOCKED: while this
# transaction lives, nobody can take the operation over, whatever a clock says.
_FENCE = """
SELECT cancel_requested_at IS NOT NULL AS cancel, deadline_at <= clock_timestamp() AS overdue,
  coalesce((SELECT {until} FROM public.operation_steps s
    WHERE s.operation_id = o.id AND s.ordinal = %(ordinal)s) <= clock_timestamp(), false) AS late
FROM public.operations o
WHERE id = %(id)s AND epoch = %(epoch)s
""".replace("{until}", _UNTIL)

_EVENT = """
INSERT INTO public.operation_events (operation_id, seq, epoch, step, type, data)
SELECT %(id)s, op.event_seq, %(epoch)s, %(step)s, %(type)s, %(data)s::jsonb FROM op
RETURNING seq, pg_notify('controlplane_events', operation_id::text)
"""

_RECORD = """
WITH step AS (
  UPDATE public.operation_steps SET
    state = %(state)s, epoch = %(epoch)s, attempt = %(attempt)s, undo_attempt = %(undo_attempt)s,
    output = coalesce(%(output)s::jsonb, output), last_error = %(error)s::jsonb,
    started_at = coalesce(started_at, clock_timestamp()),
    finished_at = CASE WHEN %(state)s IN ('done', 'undone') THEN clock_timestamp() END
  WHERE operation_id = %(id)s AND ordinal = %(ordinal)s RETURNING 1
), op AS (
  UPDATE public.operations SET event_seq = event_seq + 1,
    attempt = CASE WHEN %(state)s IN ('done', 'undone') THEN 0 ELSE attempt END
  FROM step WHERE id = %(id)s AND epoch = %(epoch)s RETURNING event_seq
)
{event}
""".replace("{event}", _EVENT)

_TURN = """
WITH op AS (
  UPDATE public.operations SET event_seq = event_seq + 1, attempt = 0, state = %(state)s,
    error = coalesce(%(error)s::jsonb, error),
    finished_at = CASE WHEN %(finished)s THEN clock_timestamp() END,
    lease_owner = CASE WHEN %(leave)s THEN NULL ELSE lease_owner END,
    lease_expires_at = CASE WHEN %(leave)s THEN NULL ELSE lease_expires_at END
  WHERE id = %(id)s AND epoch = %(epoch)s RETURNING event_seq
)
{event}
""".replace("{event}", _EVENT)

# A wait does not outlast a deadline, where there is one to keep: the rollback would come late.
_RELEASE = """
UPDATE public.operations o SET lease_owner = NULL, lease_expires_at = NULL, attempt = 0,
  run_at = least(clock_timestamp() + make_interval(secs => %(after)s * (1 + %(spread)s * random())),
    CASE WHEN %(bounded)s THEN greatest(clock_timestamp(), least(deadline_at, (
      SELECT {until} FROM public.operation_steps s
      WHERE s.operation_id = o.id AND s.ordinal = %(ordinal)s))) END)
WHERE id = %(id)s AND epoch = %(epoch)s
""".replace("{until}", _UNTIL)

_LET_GO = """
UPDATE public.operations SET lease_owner = NULL, lease_expires_at = NULL
WHERE id = %(id)s AND epoch = %(epoch)s
"""


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value)


def _key(operation: Operation) -> dict[str, Any]:
    return {"id": operation.id, "epoch": operation.epoch}


async def claim(
    conn: AsyncConnection, *, owner: str, ttl_s: float, plans: list[str], limit: int
) -> list[Operation]:
    """Take up to `limit` due operations whose plans (`kind/version`) this worker knows."""
    found = await conn.exec_driver_sql(
        _CLAIM, {"owner": owner, "ttl": ttl_s, "plans": plans, "limit": limit}
    )
    return [_operation(row._asdict()) for row in found]


def _operation(row: dict[str, Any]) -> Operation:
    steps = (StepRecord(**{**s, "state": StepState(s["state"])}) for s in row["steps"])
    return Operation(
        id=row["id"],
        tenant_id=row["tenant_id"],
        plan=plan_from_json(row["kind"], row["plan_version"], row["plan"]),
        params=row["params"],
        state=OperationState(row["state"]),
        steps=tuple(steps),
        epoch=row["epoch"],
        error=row["error"],
        cancel_requested=row["cancel_requested"],
        overdue=row["overdue"],
    )


@dataclass(frozen=True)
class Notice:
    """What a fence finds out besides: whether there is a reason to turn round. `late` is of the
    step that was asked about."""

    cancel: bool
    overdue: bool
    late: bool

    @property
    def turns(self) -> bool:
        return self.cancel or self.overdue or self.late

    def taken(self, operation: Operation, ordinal: int) -> Operation:
        """The operation with what is known now."""
        known = operation.with_step(ordinal, overdue=self.late)
        return replace(known, cancel_requested=self.cancel, overdue=self.overdue)


async def fence(
    conn: AsyncConnection, operation: Operation, *, exclusive: bool, ordinal: int | None = None
) -> Notice:
    """The first statement of every transaction of a drive; `ordinal` is of the step it is for.

    `exclusive` also shuts out a cancel until the commit: the pivot needs it, so that of cancel
    and pivot exactly one wins. Raises LeaseLost.
    """
    strength = " FOR NO KEY UPDATE" if exclusive else " FOR KEY SHARE"
    asked = {**_key(operation), "ordinal": ordinal}
    row = await driver.first(conn, _FENCE + strength, asked)
    _must_be_ours(row, operation)
    return Notice(*row)


async def record(
    conn: AsyncConnection,
    operation: Operation,
    ordinal: int,
    *,
    event: str,
    error: dict[str, Any] | None = None,
) -> None:
    """Write one step as it stands in `operation`, with its event. Raises LeaseLost."""
    step = operation.steps[ordinal]
    written = await driver.first(
        conn,
        _RECORD,
        {
            **_key(operation),
            "ordinal": ordinal,
            "state": step.state,
            "attempt": step.attempt,
            "undo_attempt": step.undo_attempt,
            "output": _json(step.output),
            "error": _json(error),
            "step": step.name,
            "type": event,
            "data": _json(_event_data(step, error)),
        },
    )
    _must_be_ours(written, operation)


def _event_data(step: StepRecord, error: dict[str, Any] | None) -> dict[str, Any]:
    told: dict[str, Any] = {"state": step.state, "attempt": step.attempt}
    if step.undo_attempt:
        told["undo_attempt"] = step.undo_attempt
    return told if error is None else {**told, "error": error}


async def turn(
    conn: AsyncConnection,
    operation: Operation,
    *,
    finished: bool = False,
    leave: bool = False,
) -> None:
    """Write the operation's own state and error as they stand in `operation`, with an event named
    after the state. `leave` gives the lease back. Raises LeaseLost."""
    written = await driver.first(
        conn,
        _TURN,
        {
            **_key(operation),
            "state": operation.state,
            "error": _json(operation.error),
            "finished": finished,
            "leave": leave or finished,
            "step": None,
            "type": operation.state,
            "data": _json({"error": operation.error} if operation.error else {}),
        },
    )
    _must_be_ours(written, operation)


def _must_be_ours(row: Any, operation: Operation) -> None:
    if row is None:
        raise LeaseLost(f"Operation {operation.id} was taken over after epoch {operation.epoch}.")


async def release(
    conn: AsyncConnection,
    operation: Operation,
    *,
    after_s: float,
    ordinal: int | None = None,
    queued: bool = False,
) -> None:
    """Give the lease back; the operation is due again after so many seconds (and up to a quarter
    more, lest many come back at once, unless each was told his own time), or, while it can still be
    rolled back, at its deadline or that of the step which waits."""
    bounded = operation.state is not OperationState.UNWINDING and not operation.pivot_done
    asked = {**_key(operation), "after": after_s, "bounded": bounded, "ordinal": ordinal}
    await conn.exec_driver_sql(_RELEASE, {**asked, "spread": 0.0 if queued else 0.25})


async def let_go(conn: AsyncConnection, operation: Operation) -> None:
    """Give the lease back and leave the back-off that the claim has paid in advance."""
    await conn.exec_driver_sql(_LET_GO, _key(operation))


async def hold(conn: AsyncConnection, operation: Operation, kind: str, external_id: str) -> None:
    """Enter what the tenant is about to have outside its row."""
    await conn.exec_driver_sql(
        "INSERT INTO public.tenant_resources (tenant_id, kind, external_id, operation_id)"
        " VALUES (%(tenant)s, %(kind)s, %(external)s, %(id)s) ON CONFLICT DO NOTHING",
        {"tenant": operation.tenant_id, "kind": kind, "external": external_id, "id": operation.id},
    )


async def unhold(conn: AsyncConnection, tenant_id: UUID, kind: str, external_id: str) -> None:
    """Strike out what the tenant no longer has."""
    await conn.exec_driver_sql(
        "DELETE FROM public.tenant_resources"
        " WHERE tenant_id = %(tenant)s AND kind = %(kind)s AND external_id = %(external)s",
        {"tenant": tenant_id, "kind": kind, "external": external_id},
    )
