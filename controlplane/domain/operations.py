"""An operation, its plan and its steps. Pure.

A plan is pinned in the operation's row when it is accepted and never derived again, so a worker
of another release finishes what was promised, or leaves it alone.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

from controlplane.domain.tenants import TenantState


class OperationState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    UNWINDING = "unwinding"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PARKED = "parked"
    ABANDONED = "abandoned"


FINISHED = frozenset(
    {
        OperationState.SUCCEEDED,
        OperationState.FAILED,
        OperationState.CANCELLED,
        OperationState.ABANDONED,
    }
)


class StepState(StrEnum):
    """There is no state `failed`: the effect of a failed step is unknown, so it stays `started`
    and is undone like a done one."""

    PENDING = "pending"
    STARTED = "started"
    DONE = "done"
    UNDO_STARTED = "undo_started"
    UNDONE = "undone"


# The database enforces the same list by a trigger (migrations/public).
STEP_TRANSITIONS: dict[StepState, frozenset[StepState]] = {
    StepState.PENDING: frozenset({StepState.STARTED, StepState.DONE}),
    StepState.STARTED: frozenset({StepState.DONE, StepState.UNDO_STARTED, StepState.UNDONE}),
    StepState.DONE: frozenset({StepState.UNDO_STARTED, StepState.UNDONE}),
    StepState.UNDO_STARTED: frozenset({StepState.UNDONE}),
    StepState.UNDONE: frozenset(),
}


class Action(StrEnum):
    """What a plan wants of a step; undoing it is the other one."""

    ENSURE = "ensure"
    ABSENT = "absent"

    @property
    def undo(self) -> "Action":
        return Action.ABSENT if self is Action.ENSURE else Action.ENSURE


class Reach(StrEnum):
    """LOCAL: effect, fence and journal commit in one transaction. REMOTE: intent is written first."""

    LOCAL = "local"
    REMOTE = "remote"


@dataclass(frozen=True)
class PlanStep:
    name: str
    action: Action
    reach: Reach
    # From here on nothing is undone. Exactly one step of a plan, and always a local one.
    pivot: bool = False
    # Seconds from its first record in the journal, waits and tries included, after which a step
    # before the pivot is given up. None in a plan of ours: a share of the operation's, pinned with
    # the plan; none in a pinned one: as long as the operation has.
    deadline_s: float | None = None


@dataclass(frozen=True)
class Plan:
    """`rolled_back` is the tenant's state when the operation was undone; None: the state it had."""

    kind: str
    version: int
    steps: tuple[PlanStep, ...]
    rolled_back: TenantState | None

    @property
    def name(self) -> str:
        """Kind and version, by which a worker tells whether it knows this plan."""
        return f"{self.kind}/{self.version}"

    @property
    def pivot(self) -> int:
        return next(i for i, step in enumerate(self.steps) if step.pivot)


@dataclass(frozen=True)
class StepRecord:
    """One step of an operation as journaled. `attempt` counts the starts, `undo_attempt` the undos;
    `overdue` is what the database's clock said of its deadline when it was read."""

    name: str
    state: StepState = StepState.PENDING
    attempt: int = 0
    undo_attempt: int = 0
    output: dict[str, Any] | None = None
    overdue: bool = False


@dataclass(frozen=True)
class Operation:
    """An operation under a claim. `epoch` fences every write; a newer one means it was taken over."""

    id: UUID
    tenant_id: UUID
    plan: Plan
    params: dict[str, Any]
    state: OperationState
    steps: tuple[StepRecord, ...]
    epoch: int
    error: dict[str, Any] | None = None
    cancel_requested: bool = False
    overdue: bool = False

    @property
    def pivot_done(self) -> bool:
        return self.steps[self.plan.pivot].state is StepState.DONE

    def with_step(self, ordinal: int, **changes: Any) -> "Operation":
        steps = list(self.steps)
        steps[ordinal] = replace(steps[ordinal], **changes)
        return replace(self, steps=tuple(steps))
