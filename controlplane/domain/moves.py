"""The engine's next move, decided from the journal alone. Pure, and enumerated whole in a test.

Forward in order while running, back in reverse while unwinding; the only way from the one to the
other is `Unwind`, there is none back, and none after the pivot.
"""

from dataclasses import dataclass

from controlplane.domain.operations import (
    FINISHED,
    Operation,
    OperationState,
    StepRecord,
    StepState,
)


@dataclass(frozen=True)
class Perform:
    """Carry out the step's action."""

    ordinal: int


@dataclass(frozen=True)
class Undo:
    """Carry out the opposite of the step's action."""

    ordinal: int


@dataclass(frozen=True)
class Unwind:
    """Turn round: from here on only undo. `step` is whose fault it is, where it is a step's."""

    code: str
    detail: str
    step: str | None = None


@dataclass(frozen=True)
class Finish:
    """Nothing is left to do; the operation ends in this state."""

    state: OperationState


@dataclass(frozen=True)
class Rest:
    """Nothing may be done: the operation is over or parked."""


@dataclass(frozen=True)
class Retry:
    """Let go of the operation and come back after so many seconds (before jitter)."""

    after_s: float


@dataclass(frozen=True)
class Park:
    """Give up for now, visibly."""


Move = Perform | Undo | Unwind | Finish | Rest

CANCELLED = Unwind("cancelled", "The operation was cancelled.")
OVERDUE = Unwind("deadline_exceeded", "The operation did not end within its deadline.")

_MAY_HAVE_HAPPENED = frozenset({StepState.STARTED, StepState.DONE, StepState.UNDO_STARTED})
# An undo is tried this often before an operator (or the reaper, once the world heals) is asked.
UNDO_BUDGET = 8
_LONGEST_WAIT_S = 600.0


def next_move(operation: Operation) -> Move:
    """What a worker that holds the operation's lease does now."""
    match operation.state:
        case OperationState.PENDING | OperationState.RUNNING:
            return _forward(operation)
        case OperationState.UNWINDING:
            return _back(operation)
        case OperationState.PARKED:
            return Rest()
        case state if state in FINISHED:
            return Rest()
        case _:  # pragma: no cover
            raise AssertionError(operation.state)


def _forward(operation: Operation) -> Move:
    if not operation.pivot_done:
        if operation.cancel_requested:
            return CANCELLED
        if operation.overdue:
            return OVERDUE
    for ordinal, step in enumerate(operation.steps):
        if step.state is not StepState.DONE:
            return step_overdue(step) if _given_up(operation, step) else Perform(ordinal)
    return Finish(OperationState.SUCCEEDED)


def _given_up(operation: Operation, step: StepRecord) -> bool:
    """Behind the pivot there is no way back, so a step is tried for as long as it takes."""
    return step.overdue and not operation.pivot_done


def step_overdue(step: StepRecord) -> Unwind:
    """What is said of a step that has outlasted its deadline."""
    detail = f"The step '{step.name}' did not end within its deadline."
    return Unwind(OVERDUE.code, detail, step.name)


def _back(operation: Operation) -> Move:
    for ordinal in reversed(range(len(operation.steps))):
        if operation.steps[ordinal].state in _MAY_HAVE_HAPPENED:
            return Undo(ordinal)
    cancelled = (operation.error or {}).get("code") == CANCELLED.code
    return Finish(OperationState.CANCELLED if cancelled else OperationState.FAILED)


def after_failure(
    operation: Operation, ordinal: int, *, permanent: bool, retry_after_s: float | None = None
) -> Retry | Unwind | Park:
    """What follows when a step's action failed.

    Before the pivot a permanent failure turns the operation round. After it there is no way back:
    the operation is parked. A transient failure is tried again until a deadline turns it round,
    and behind the pivot for ever.
    """
    if not permanent:
        return Retry(wait_s(operation.steps[ordinal].attempt, retry_after_s))
    if operation.pivot_done:
        return Park()
    step = operation.plan.steps[ordinal].name
    return Unwind("step_failed", f"The step '{step}' failed.", step)


def after_failed_undo(
    operation: Operation, ordinal: int, *, permanent: bool, retry_after_s: float | None = None
) -> Retry | Park:
    """What follows when undoing a step failed: again, until the budget is used up."""
    undone = operation.steps[ordinal].undo_attempt
    if permanent or undone >= UNDO_BUDGET:
        return Park()
    return Retry(wait_s(undone, retry_after_s))


def wait_s(attempt: int, retry_after_s: float | None = None) -> float:
    """Seconds before the next try: 1, 2, 4 … 600, and never less than the provider asked for."""
    return max(min(2.0 ** min(attempt - 1, 10), _LONGEST_WAIT_S), retry_after_s or 0.0)
