"""What a worker reads and writes of a rollout. Functions take a connection and never commit.

There is no lease: the lock on a target's row, held to the end of the one transaction in which its
schema, the catalog and this journal change, is both claim and fence. It ends with its connection,
so a killed worker leaves nothing to wait for, and a frozen one nothing to undo.
"""

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.sql import SQL, Composed, Literal
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain import rollouts as decide
from controlplane.domain.naming import schema_name
from controlplane.domain.rollouts import Finish, Halt, NextRing, RolloutState, Tally
from controlplane.domain.tenants import TenantState
from controlplane.fleet import statements
from controlplane.store import driver, rollouts
from controlplane.store.rollouts import Rollout

_SAVEPOINT = SQL("SAVEPOINT upgrade")
BACK = "ROLLBACK TO SAVEPOINT upgrade"

HEADS = "SELECT string_agg(version_num, ',' ORDER BY version_num) FROM alembic_version"
# Each worker goes through them in an order of its own, so that two seldom want the same.
_CANDIDATES = text("""
SELECT t.tenant_id, t.from_revision FROM public.rollout_targets t
JOIN public.rollouts r ON r.id = t.rollout_id
WHERE r.id = :rollout AND r.state = 'running' AND r.run_at <= clock_timestamp()
  AND t.ring <= r.ring AND t.state = 'pending' AND t.run_at <= clock_timestamp()
ORDER BY hashtextextended(t.tenant_id::text, :seed) LIMIT :limit
""")
_ATTEMPTS = text("""
SELECT attempt FROM public.rollout_targets WHERE rollout_id = :rollout AND tenant_id = :tenant
""")
_TALLY = text("""
SELECT count(*) FILTER (WHERE state = 'pending' AND ring <= :ring) AS pending,
  count(*) FILTER (WHERE state = 'failed' AND ring = :ring) AS failed,
  count(*) FILTER (WHERE ring = :ring) AS size,
  count(*) FILTER (WHERE state = 'failed') AS failed_ever
FROM public.rollout_targets WHERE rollout_id = :rollout
""")
# Whoever was made meanwhile by a worker of an older release.
_STRAGGLERS = text("""
INSERT INTO public.rollout_targets (rollout_id, tenant_id, ring, from_revision)
SELECT :rollout, n.id, :ring, n.revision FROM public.tenants n
WHERE n.revision <> :revision AND n.state NOT IN ('purging', 'purged')
ON CONFLICT DO NOTHING RETURNING tenant_id
""")
_ENDS = text("""
UPDATE public.rollout_targets SET state = :state, attempt = attempt + :tries,
  error = CAST(:error AS jsonb), finished_at = clock_timestamp()
WHERE rollout_id = :rollout AND tenant_id = :tenant AND state = 'pending'
""")
_WAITS = text("""
UPDATE public.rollout_targets SET attempt = attempt + :tries, error = CAST(:error AS jsonb),
  run_at = clock_timestamp() + make_interval(secs => :after * (1 + random() / 4))
WHERE rollout_id = :rollout AND tenant_id = :tenant AND state = 'pending'
""")


@dataclass(frozen=True)
class Held:
    """A target whose row and tenant nobody else changes until the transaction's end.

    `place` is None where `max_parallel` others are under way; `ours`: the schema bears our mark;
    `frozen` is why the tenant stays at its revision.
    """

    attempt: int
    state: TenantState
    revision: str | None
    operation: str | None
    parked: bool
    frozen: str | None
    ours: bool
    place: int | None


@dataclass(frozen=True)
class Due:
    """A target that may be upgraded now, and the revision that its tenant had when it was entered."""

    tenant_id: UUID
    before: str | None


def hold_message(rollout: Rollout, tenant_id: UUID, *, installation: UUID) -> str:
    """The statements that hold a target, and leave a savepoint to come back to."""
    return SQL(";\n").join([*_holding(rollout, tenant_id, installation), _SAVEPOINT]).as_string()


def _holding(rollout: Rollout, tenant_id: UUID, installation: UUID) -> list[Composed]:
    key = {"rollout": Literal(rollout.id), "tenant": Literal(tenant_id)}
    seen = looked_at(rollout, tenant_id, installation)
    return [statements.EXECUTE_HOLD.format(**key), statements.EXECUTE_LOOK.format(**seen)]


def looked_at(rollout: Rollout, tenant_id: UUID, installation: UUID) -> dict[str, Literal]:
    """What a target is known by."""
    return {
        "rollout": Literal(rollout.id),
        "tenant": Literal(tenant_id),
        "schema": Literal(schema_name(tenant_id)),
        "mark": Literal(f"controlplane/{installation}/{tenant_id}/"),
        "places": Literal(rollout.policy.max_parallel),
        "class_": Literal(statements.PLACES),
    }


def held(answers: list[list[Any]]) -> Held | None:
    """What the statements of `hold_message` have answered; None where it is not to be had."""
    found, looked = answers[0], answers[1]
    if not found:
        return None
    state, *rest = looked[0]
    return Held(found[0][0], TenantState(state), *rest)


async def hold(
    conn: AsyncConnection, rollout: Rollout, tenant_id: UUID, *, installation: UUID
) -> Held | None:
    """Hold a target. None where another worker has it, it is not due, or its tenant is changed."""
    message = hold_message(rollout, tenant_id, installation=installation)
    return held(await driver.rows_of_each(conn, message))


def done_message(rollout: Rollout, tenant_id: UUID, *, before: str) -> str:
    """Does what was put off and enters that the schema is at the rollout's revision; ends by asking the
    schema itself."""
    message = statements.EXECUTE_DONE.format(
        rollout=Literal(rollout.id),
        tenant=Literal(tenant_id),
        before=Literal(before),
        revision=Literal(rollout.revision),
    )
    return f"{statements.SETTLE};\n{message.as_string()};\n{HEADS}"


async def candidates(
    conn: AsyncConnection, rollout_id: UUID, *, seed: int, limit: int
) -> list[Due]:
    """Targets that are due."""
    asked = {"rollout": rollout_id, "seed": seed, "limit": limit}
    return [Due(*row) for row in await conn.execute(_CANDIDATES, asked)]


async def attempts(conn: AsyncConnection, rollout_id: UUID, tenant_id: UUID) -> int:
    """How often the target was tried."""
    asked = {"rollout": rollout_id, "tenant": tenant_id}
    return int((await conn.execute(_ATTEMPTS, asked)).scalar_one())


async def skip(conn: AsyncConnection, rollout_id: UUID, tenant_id: UUID, reason: str) -> None:
    """Enter that there is nothing to upgrade, and why."""
    error = {"code": "skipped", "detail": reason}
    await conn.execute(_ENDS, _ended(rollout_id, tenant_id, "skipped", tries=0, error=error))


async def fail(
    conn: AsyncConnection, rollout_id: UUID, tenant_id: UUID, code: str, detail: str
) -> None:
    """Enter a failure, and halt the rollout where it is one too many."""
    error = {"code": code, "detail": detail}
    await conn.execute(_ENDS, _ended(rollout_id, tenant_id, "failed", tries=1, error=error))
    await advance(conn, rollout_id)


def _ended(
    rollout_id: UUID, tenant_id: UUID, state: str, *, tries: int, error: dict[str, str]
) -> dict[str, Any]:
    key = {"rollout": rollout_id, "tenant": tenant_id}
    return {**key, "state": state, "tries": tries, "error": json.dumps(error)}


async def wait(
    conn: AsyncConnection,
    rollout_id: UUID,
    tenant_id: UUID,
    *,
    after_s: float,
    code: str,
    detail: str,
    tried: bool,
) -> None:
    """Put a target off; `tried`: this was one of its attempts."""
    error = json.dumps({"code": code, "detail": detail})
    key = {"rollout": rollout_id, "tenant": tenant_id}
    await conn.execute(_WAITS, {**key, "after": after_s, "tries": int(tried), "error": error})


async def advance(conn: AsyncConnection, rollout_id: UUID) -> bool:
    """Do what is to be done with the rollout now: halt it, begin the next ring, end it. Whether
    there may be new targets by it.

    Whoever does so holds its row. A ring without anybody to upgrade is gone past at once.
    """
    moved = False
    while True:
        rollout = await rollouts.get(conn, rollout_id, lock=True)
        tally = await _tally(conn, rollout)
        match decide.next_move(
            rollout.state, ring=rollout.ring, policy=rollout.policy, tally=tally
        ):
            case NextRing() as move:
                await _next_ring(conn, rollout, move)
                moved = True
            case Halt(failed):
                await _halt(conn, rollout, failed)
                return False
            case Finish(state):
                if rollout.policy.takes_in and await _stragglers(conn, rollout):
                    return True
                await rollouts.set_state(conn, rollout.id, state)
                return False
            case _:
                return moved


async def _tally(conn: AsyncConnection, rollout: Rollout) -> Tally:
    asked = {"rollout": rollout.id, "ring": rollout.ring}
    row = (await conn.execute(_TALLY, asked)).one()
    return Tally(row.pending, row.failed, row.size, rollout.excused, row.failed_ever)


async def _halt(conn: AsyncConnection, rollout: Rollout, failed: int) -> None:
    ring = rollout.policy.rings[rollout.ring].name
    detail = (
        f"{failed} failed in the ring '{ring}', where {rollout.policy.budget} may. See to "
        "them, then retry; or resume, and they are left as they are."
    )
    error = {"code": "budget_exhausted", "detail": detail, "ring": ring, "failed": failed}
    await rollouts.set_state(conn, rollout.id, RolloutState.HALTED, error=error)


async def _next_ring(conn: AsyncConnection, rollout: Rollout, move: NextRing) -> None:
    # A ring that nobody is in does not cut the wait after the one before it short.
    begins = text("greatest(run_at, clock_timestamp() + make_interval(secs => :after))").bindparams(
        after=move.after_s
    )
    await rollouts.set_state(
        conn, rollout.id, rollout.state, ring=move.ring, excused=0, run_at=begins
    )


async def _stragglers(conn: AsyncConnection, rollout: Rollout) -> bool:
    asked = {"rollout": rollout.id, "ring": rollout.ring, "revision": rollout.revision}
    return bool((await conn.execute(_STRAGGLERS, asked)).all())
