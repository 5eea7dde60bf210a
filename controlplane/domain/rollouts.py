"""A rollout of the tenant template to every schema: states, policy and the next move. Pure."""

import re
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from controlplane.domain.rings import By, Ring
from controlplane.domain.tenants import TenantState
from controlplane.errors import FieldFault, ValidationFailed

_BUDGET = re.compile(r"([0-9]{1,6})(%?)")
_WHOLE = 100
# Seconds between two tries of one target: doubled from the first to the last of these.
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0


class RolloutState(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    # More targets of a ring failed than its budget allows.
    HALTED = "halted"
    SUCCEEDED = "succeeded"
    # Every ring was gone through; some targets failed, within the budget.
    INCOMPLETE = "incomplete"
    CANCELLED = "cancelled"


class TargetState(StrEnum):
    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


ENDED = frozenset({RolloutState.SUCCEEDED, RolloutState.INCOMPLETE, RolloutState.CANCELLED})

# The database enforces both lists by triggers (migrations/public).
TRANSITIONS: dict[RolloutState, frozenset[RolloutState]] = {
    RolloutState.RUNNING: frozenset(RolloutState) - {RolloutState.RUNNING},
    RolloutState.PAUSED: frozenset({RolloutState.RUNNING, RolloutState.CANCELLED}),
    RolloutState.HALTED: frozenset({RolloutState.RUNNING, RolloutState.CANCELLED}),
    RolloutState.SUCCEEDED: frozenset(),
    RolloutState.INCOMPLETE: frozenset({RolloutState.RUNNING}),
    RolloutState.CANCELLED: frozenset(),
}
TARGET_TRANSITIONS: dict[TargetState, frozenset[TargetState]] = {
    TargetState.PENDING: frozenset({TargetState.DONE, TargetState.FAILED, TargetState.SKIPPED}),
    TargetState.DONE: frozenset(),
    TargetState.FAILED: frozenset({TargetState.PENDING}),
    TargetState.SKIPPED: frozenset(),
}


class Ask(StrEnum):
    """What an operator may ask of a rollout."""

    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"
    CANCEL = "cancel"


_ASKED: dict[Ask, dict[RolloutState, RolloutState]] = {
    Ask.PAUSE: {RolloutState.RUNNING: RolloutState.PAUSED},
    Ask.RESUME: dict.fromkeys((RolloutState.PAUSED, RolloutState.HALTED), RolloutState.RUNNING),
    Ask.RETRY: {
        RolloutState.RUNNING: RolloutState.RUNNING,
        RolloutState.PAUSED: RolloutState.PAUSED,
        RolloutState.HALTED: RolloutState.RUNNING,
        RolloutState.INCOMPLETE: RolloutState.RUNNING,
    },
    Ask.CANCEL: dict.fromkeys(
        (RolloutState.RUNNING, RolloutState.PAUSED, RolloutState.HALTED), RolloutState.CANCELLED
    ),
}


def answer(ask: Ask, state: RolloutState) -> RolloutState | None:
    """The state that follows; None where this cannot be asked now."""
    return _ASKED[ask].get(state)


@dataclass(frozen=True)
class Budget:
    """How many targets of one ring may fail: the larger of a number and a share."""

    count: int = 0
    percent: int = 0

    def allows(self, failed: int, *, of: int) -> bool:
        return failed <= max(self.count, of * self.percent // _WHOLE)

    def __str__(self) -> str:
        return f"{self.percent}%" if self.percent else str(self.count)


def parse_budget(text: str) -> Budget:
    """From `3` or `2%`. Raises ValidationFailed."""
    found = _BUDGET.fullmatch(text.strip())
    if found is None or (found[2] and int(found[1]) > _WHOLE):
        detail = "The failure budget is a number of tenants, or a share of a ring such as 2%."
        raise ValidationFailed(detail, [FieldFault("/failure_budget", "invalid", detail)])
    return Budget(percent=int(found[1])) if found[2] else Budget(count=int(found[1]))


@dataclass(frozen=True)
class Policy:
    """How a rollout goes about it; pinned in its row when it begins.

    `max_parallel` transactions at most are under way at once, over all workers. A lock that is not
    had within `lock_timeout_ms` is let go of, and asked for again until a target has had `attempts`.
    `soak_s` pass between the end of a ring and the beginning of the next. `back`: to an older revision.
    """

    rings: tuple[Ring, ...]
    budget: Budget = Budget()
    soak_s: float = 0.0
    max_parallel: int = 2
    lock_timeout_ms: int = 200
    statement_timeout_s: int = 600
    attempts: int = 20
    back: bool = False

    @property
    def takes_in(self) -> bool:
        """Whether tenants that are made meanwhile become targets at its end."""
        return not self.back and self.rings[-1].by is By.REST

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "rings": [ring.to_json() for ring in self.rings]}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> "Policy":
        rings = tuple(Ring.from_json(ring) for ring in told["rings"])
        return cls(**{**told, "rings": rings, "budget": Budget(**told["budget"])})


@dataclass(frozen=True)
class Tally:
    """Numbers of targets. `pending` of this ring and those before it, `failed` and `size` of this
    ring, of which `excused` failures were seen by whoever let it go on; `failed_ever` of all rings."""

    pending: int
    failed: int
    size: int
    excused: int
    failed_ever: int


@dataclass(frozen=True)
class Work:
    """Targets are waiting to be upgraded."""


@dataclass(frozen=True)
class Rest:
    """Nothing may be done: it is paused, halted or over."""


@dataclass(frozen=True)
class Halt:
    """Too many have failed."""

    failed: int


@dataclass(frozen=True)
class NextRing:
    """The ring is through; the next one begins after so many seconds."""

    ring: int
    after_s: float


@dataclass(frozen=True)
class Finish:
    state: RolloutState


Move = Work | Rest | Halt | NextRing | Finish


def next_move(state: RolloutState, *, ring: int, policy: Policy, tally: Tally) -> Move:
    """What is to be done now with a rollout in this ring."""
    if state is not RolloutState.RUNNING:
        return Rest()
    counted = tally.failed - tally.excused
    if not policy.budget.allows(counted, of=tally.size):
        return Halt(tally.failed)
    if tally.pending:
        return Work()
    if ring + 1 < len(policy.rings):
        # Nobody was upgraded in an empty ring, so there is nothing to look out for.
        return NextRing(ring + 1, policy.soak_s if tally.size else 0.0)
    return Finish(RolloutState.INCOMPLETE if tally.failed_ever else RolloutState.SUCCEEDED)


@dataclass(frozen=True)
class Upgrade:
    """Bring the schema to the rollout's revision."""


@dataclass(frozen=True)
class Skip:
    """There is nothing to upgrade, and there never will be."""

    reason: str


@dataclass(frozen=True)
class Later:
    """Not now, and nobody's fault."""

    reason: str


@dataclass(frozen=True)
class Refuse:
    """It cannot be done before somebody has seen to it."""

    code: str
    detail: str


Course = Upgrade | Skip | Later | Refuse


def course(
    state: TenantState,
    *,
    revision: str | None,
    operation: str | None,
    parked: bool,
    frozen: str | None = None,
) -> Course:
    """What becomes of one target, whose tenant's row is held. `operation` is the kind of the one
    that has not ended; a parked one does not end by itself. `frozen` is why it stays as it is."""
    if state in {TenantState.PURGING, TenantState.PURGED}:
        return Skip("The tenant is being purged.")
    if frozen is not None:
        return Skip(f"The tenant is frozen at its revision: {frozen}")
    if operation is not None and parked:
        return Refuse("operation_parked", f"The tenant's operation '{operation}' is parked.")
    if operation is not None:
        return Later(f"The tenant's operation '{operation}' has not ended.")
    if revision is None:
        return Skip("The tenant has no schema.")
    return Upgrade()


def wait_s(attempt: int) -> float:
    """Seconds before the try after this one, counted from 1."""
    return float(min(_FIRST_WAIT_S * 2 ** min(attempt - 1, 16), _LONGEST_WAIT_S))
