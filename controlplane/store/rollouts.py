"""Rows of rollouts and their targets, as they are shown and asked for. Functions take a connection
and never commit. What a worker writes is in fleet/journal.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, insert, null, select, text, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.rollouts import ENDED, Policy, RolloutState, TargetState
from controlplane.errors import RolloutInProgress, RolloutNotFound
from controlplane.store.rollout_tables import rollout_targets, rollouts
from controlplane.store.tenant_tables import tenants

CHANNEL = "controlplane_rollouts"
_TARGETS = text("""
INSERT INTO public.rollout_targets (rollout_id, tenant_id, ring, from_revision)
SELECT :rollout, * FROM unnest(
  CAST(:tenants AS uuid[]), CAST(:rings AS integer[]), CAST(:revisions AS text[]))
ON CONFLICT DO NOTHING
""")


@dataclass(frozen=True)
class Rollout:
    """A rollout as read. `run_at` is when its ring begins; `error` says why it was halted."""

    id: UUID
    state: RolloutState
    revision: str
    digest: str
    policy: Policy
    ring: int
    excused: int
    run_at: datetime
    error: dict[str, Any] | None
    requested_by: UUID | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True)
class Target:
    """One tenant of a rollout."""

    tenant_id: UUID
    subdomain: str
    ring: int
    state: TargetState
    from_revision: str | None
    attempt: int
    error: dict[str, Any] | None
    finished_at: datetime | None


@dataclass(frozen=True)
class Request:
    """An Idempotency-Key with whose and for what it was."""

    principal: UUID
    key: str
    mark: bytes


async def add(
    conn: AsyncConnection,
    *,
    rollout_id: UUID,
    revision: str,
    digest: str,
    policy: Policy,
    targets: Mapping[UUID, tuple[int, str | None]],
    requested_by: UUID | None,
    request: Request | None = None,
) -> None:
    """Enter a rollout; `targets` are tenants with ring and revision. Raises RolloutInProgress."""
    row = insert(rollouts).values(
        id=rollout_id,
        revision=revision,
        digest=digest,
        policy=policy.to_json(),
        max_parallel=policy.max_parallel,
        requested_by=requested_by,
        request_key=request.key if request else None,
        request_mark=request.mark if request else None,
    )
    try:
        async with conn.begin_nested():
            await conn.execute(row)
    except IntegrityError as error:
        raise _live(error) from error
    columns = {
        "rollout": rollout_id,
        "tenants": list(targets),
        "rings": [ring for ring, _ in targets.values()],
        "revisions": [revision for _, revision in targets.values()],
    }
    await conn.execute(_TARGETS, columns)
    await notify(conn, rollout_id)


def _live(error: IntegrityError) -> Exception:
    if "uq_rollouts_live" not in str(error.orig):
        return error
    return RolloutInProgress("Another rollout has not ended; wait for it or cancel it.")


async def get(conn: AsyncConnection, rollout_id: UUID, *, lock: bool = False) -> Rollout:
    """Raises RolloutNotFound. `lock` holds it against its workers' moves until the commit."""
    query = select(rollouts).where(rollouts.c.id == rollout_id)
    if lock:
        query = query.with_for_update(key_share=True)
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise RolloutNotFound(f"There is no rollout with the id {rollout_id}.")
    return _rollout(row)


async def live(conn: AsyncConnection) -> Rollout | None:
    """The one that has not ended."""
    query = select(rollouts).where(rollouts.c.finished_at.is_(None))
    row = (await conn.execute(query)).one_or_none()
    return None if row is None else _rollout(row)


async def overtaken(conn: AsyncConnection, rollout: Rollout) -> bool:
    """Whether another was begun after it, and has ended as well."""
    c = rollouts.c
    later = select(c.id).where(c.created_at > rollout.created_at, c.finished_at.is_not(None))
    return (await conn.execute(later.limit(1))).first() is not None


async def of_request(conn: AsyncConnection, principal: UUID, key: str) -> tuple[UUID, bytes] | None:
    """The rollout that an earlier request with this key was answered with, and its mark."""
    c = rollouts.c
    query = select(c.id, c.request_mark).where(c.requested_by == principal, c.request_key == key)
    row = (await conn.execute(query)).one_or_none()
    return None if row is None else (row.id, bytes(row.request_mark))


async def page(
    conn: AsyncConnection, *, limit: int, after: tuple[datetime, UUID] | None = None
) -> list[Rollout]:
    """Newest first, from behind the (created_at, id) of the last one seen."""
    c = rollouts.c
    query = select(rollouts).order_by(c.created_at.desc(), c.id.desc()).limit(limit)
    if after is not None:
        query = query.where(tuple_(c.created_at, c.id) < after)
    return [_rollout(row) for row in await conn.execute(query)]


async def targets(
    conn: AsyncConnection,
    rollout_id: UUID,
    *,
    states: Sequence[TargetState],
    limit: int,
    after: UUID | None = None,
    only_waiting: bool = False,
) -> list[Target]:
    """Those in these states by tenant id, from behind the last one seen; `only_waiting`: with
    something to say."""
    c = rollout_targets.c
    query = (
        select(rollout_targets, tenants.c.subdomain)
        .join(tenants, tenants.c.id == c.tenant_id)
        .where(c.rollout_id == rollout_id, c.state.in_(states))
        .order_by(c.tenant_id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(c.tenant_id > after)
    if only_waiting:
        query = query.where(c.error.is_not(None))
    return [_target(row) for row in await conn.execute(query)]


async def set_state(
    conn: AsyncConnection,
    rollout_id: UUID,
    state: RolloutState,
    *,
    error: dict[str, Any] | None = None,
    **values: Any,
) -> None:
    """The database refuses a transition that the state machine does not have, and a second live
    rollout: raises RolloutInProgress."""
    values["error"] = null() if error is None else error
    ended = func.clock_timestamp() if state in ENDED else None
    change = update(rollouts).where(rollouts.c.id == rollout_id)
    try:
        async with conn.begin_nested():
            await conn.execute(change.values(state=state, finished_at=ended, **values))
    except IntegrityError as refused:
        raise _live(refused) from refused
    await notify(conn, rollout_id)


async def notify(conn: AsyncConnection, rollout_id: UUID) -> None:
    """Tell workers and watchers, from the commit on."""
    await conn.execute(select(func.pg_notify(CHANNEL, str(rollout_id))))


async def try_again(conn: AsyncConnection, rollout_id: UUID) -> int:
    """Put the failed targets back; how many there were."""
    c = rollout_targets.c
    again = (
        update(rollout_targets)
        .where(c.rollout_id == rollout_id, c.state == TargetState.FAILED)
        .values(
            state=TargetState.PENDING,
            attempt=0,
            run_at=func.clock_timestamp(),
            error=None,
            finished_at=None,
        )
    )
    return (await conn.execute(again)).rowcount


def _rollout(row: Row[Any]) -> Rollout:
    return Rollout(
        id=row.id,
        state=RolloutState(row.state),
        revision=row.revision,
        digest=row.digest,
        policy=Policy.from_json(row.policy),
        ring=row.ring,
        excused=row.excused,
        run_at=row.run_at,
        error=row.error,
        requested_by=row.requested_by,
        created_at=row.created_at,
        finished_at=row.finished_at,
    )


def _target(row: Row[Any]) -> Target:
    return Target(
        tenant_id=row.tenant_id,
        subdomain=row.subdomain,
        ring=row.ring,
        state=TargetState(row.state),
        from_revision=row.from_revision,
        attempt=row.attempt,
        error=row.error,
        finished_at=row.finished_at,
    )
