"""How far a rollout is, and at what rate it goes. Functions take a connection and never commit."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.store.rollouts import Rollout

# The rate that is shown is that of the last so many seconds, counted from the first that ended in them:
# nobody was at work before. Of fewer targets it would say nothing.
_LATELY_S = 60
_TELLING = 5

_RINGS = text("""
SELECT ring, count(*) FILTER (WHERE state = 'pending') AS pending,
  count(*) FILTER (WHERE state = 'pending' AND error IS NOT NULL) AS waiting,
  count(*) FILTER (WHERE state = 'done') AS done,
  count(*) FILTER (WHERE state = 'failed') AS failed,
  count(*) FILTER (WHERE state = 'skipped') AS skipped,
  count(*) FILTER (WHERE state = 'done' AND finished_at > late) AS lately,
  min(finished_at) FILTER (WHERE state = 'done' AND finished_at > late) AS since
FROM public.rollout_targets,
  (SELECT clock_timestamp() - make_interval(secs => :lately) AS late) AS lately
WHERE rollout_id = :rollout GROUP BY ring
""")


@dataclass(frozen=True)
class RingCounts:
    """How far a ring is. `waiting` of its `pending` targets were tried, or wait for an operation."""

    name: str
    pending: int = 0
    waiting: int = 0
    done: int = 0
    failed: int = 0
    skipped: int = 0

    @property
    def size(self) -> int:
        return self.pending + self.done + self.failed + self.skipped


@dataclass(frozen=True)
class Progress:
    """`per_s` is the rate of late, 0 where too few say one; `soaks_for_s` what is left until the ring under way
    begins, `more_soaks_s` those before the rings after it."""

    rings: tuple[RingCounts, ...]
    per_s: float
    soaks_for_s: float
    more_soaks_s: float = 0.0

    @property
    def eta_s(self) -> float | None:
        """None where nothing can be said."""
        left = sum(ring.pending for ring in self.rings)
        if left and not self.per_s:
            return None
        return self.soaks_for_s + self.more_soaks_s + (left / self.per_s if left else 0.0)


async def of(conn: AsyncConnection, rollout: Rollout) -> Progress:
    """How far each of its rings is."""
    asked = {"rollout": rollout.id, "lately": _LATELY_S}
    found = {row.ring: row for row in await conn.execute(_RINGS, asked)}
    now = (await conn.execute(select(func.clock_timestamp()))).scalar_one()
    rings = tuple(
        _counts(ring.name, found.get(number)) for number, ring in enumerate(rollout.policy.rings)
    )
    soaks = max((rollout.run_at - now).total_seconds(), 0.0)
    ended = rollout.finished_at is not None
    to_come = sum(1 for ring in rings[rollout.ring + 1 :] if ring.pending)
    return Progress(
        rings,
        _per_s(found.values(), now),
        0.0 if ended else soaks,
        0.0 if ended else to_come * rollout.policy.soak_s,
    )


def _per_s(rows: Collection[Any], now: datetime) -> float:
    lately = sum(int(row.lately) for row in rows)
    if lately < _TELLING:
        return 0.0
    since: datetime = min(row.since for row in rows if row.since is not None)
    return lately / max((now - since).total_seconds(), 0.001)


def _counts(name: str, row: Any) -> RingCounts:
    if row is None:
        return RingCounts(name)
    return RingCounts(name, row.pending, row.waiting, row.done, row.failed, row.skipped)
