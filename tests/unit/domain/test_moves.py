"""The next move, enumerated over every journal that a small plan can have."""

from itertools import product
from uuid import UUID

import pytest

from controlplane.domain import moves
from controlplane.domain.moves import Finish, Park, Perform, Rest, Retry, Undo, Unwind
from controlplane.domain.operations import (
    FINISHED,
    Action,
    Operation,
    OperationState,
    Plan,
    PlanStep,
    Reach,
    StepRecord,
    StepState,
)
from controlplane.domain.tenants import TenantState

PLAN = Plan(
    "example",
    1,
    (
        PlanStep("first", Action.ENSURE, Reach.LOCAL),
        PlanStep("second", Action.ENSURE, Reach.REMOTE),
        PlanStep("pivot", Action.ENSURE, Reach.LOCAL, pivot=True),
        PlanStep("last", Action.ENSURE, Reach.REMOTE),
    ),
    rolled_back=TenantState.FAILED,
)
MAY_HAVE_HAPPENED = {StepState.STARTED, StepState.DONE, StepState.UNDO_STARTED}
EVERY_JOURNAL = list(product(StepState, repeat=len(PLAN.steps)))
FLAGS = list(product((False, True), repeat=2))


def operation(
    state, steps=(StepState.PENDING,) * 4, *, cancel=False, overdue=False, late=(), error=None
):
    records = tuple(
        StepRecord(p.name, s, overdue=p.name in late)
        for p, s in zip(PLAN.steps, steps, strict=True)
    )
    return Operation(
        id=UUID(int=1),
        tenant_id=UUID(int=2),
        plan=PLAN,
        params={},
        state=state,
        steps=records,
        epoch=1,
        error=error,
        cancel_requested=cancel,
        overdue=overdue,
    )


def test_an_operation_that_is_over_or_parked_is_left_alone_whatever_its_journal():
    for state in [*FINISHED, OperationState.PARKED]:
        for steps, (cancel, overdue) in product(EVERY_JOURNAL, FLAGS):
            found = operation(state, steps, cancel=cancel, overdue=overdue)
            assert moves.next_move(found) == Rest()


@pytest.mark.parametrize("state", [OperationState.PENDING, OperationState.RUNNING])
def test_forward_the_first_step_that_is_not_done_comes_next(state):
    for steps in EVERY_JOURNAL:
        move = moves.next_move(operation(state, steps))
        open_steps = [i for i, s in enumerate(steps) if s is not StepState.DONE]
        expected = Perform(open_steps[0]) if open_steps else Finish(OperationState.SUCCEEDED)
        assert move == expected, steps


@pytest.mark.parametrize("state", [OperationState.PENDING, OperationState.RUNNING])
def test_a_cancel_or_the_deadline_turns_an_operation_round_before_its_pivot_and_never_after(state):
    for steps, (cancel, overdue) in product(EVERY_JOURNAL, FLAGS):
        move = moves.next_move(operation(state, steps, cancel=cancel, overdue=overdue))
        if (cancel or overdue) and steps[2] is not StepState.DONE:
            assert isinstance(move, Unwind)
            assert move.code == ("cancelled" if cancel else "deadline_exceeded")
        else:
            assert isinstance(move, Perform | Finish)


@pytest.mark.parametrize("state", [OperationState.PENDING, OperationState.RUNNING])
@pytest.mark.parametrize("late", [step.name for step in PLAN.steps])
def test_a_step_past_its_deadline_turns_an_operation_round_before_its_pivot_and_never_after(
    state, late
):
    for steps in EVERY_JOURNAL:
        move = moves.next_move(operation(state, steps, late=[late]))
        on_time = moves.next_move(operation(state, steps))
        at_it = isinstance(on_time, Perform) and PLAN.steps[on_time.ordinal].name == late
        if at_it and steps[2] is not StepState.DONE:
            assert isinstance(move, Unwind)
            assert (move.code, move.step) == ("deadline_exceeded", late)
            assert f"'{late}'" in move.detail
        else:
            assert move == on_time, "only the step that is next, and only before the pivot"


def test_a_cancel_goes_before_a_deadline_and_the_operations_before_its_steps():
    for cancel, overdue in FLAGS:
        found = operation(
            OperationState.RUNNING, cancel=cancel, overdue=overdue, late=[PLAN.steps[0].name]
        )
        move = moves.next_move(found)
        assert move == (moves.CANCELLED if cancel else moves.OVERDUE) or not (cancel or overdue)


def test_a_deadline_of_a_step_changes_nothing_on_the_way_back():
    late = [step.name for step in PLAN.steps]
    for steps in EVERY_JOURNAL:
        found = operation(OperationState.UNWINDING, steps, late=late)
        assert moves.next_move(found) == moves.next_move(operation(found.state, steps))


def test_back_the_last_step_that_may_have_happened_is_undone_next():
    for steps, (cancel, overdue) in product(EVERY_JOURNAL, FLAGS):
        found = operation(OperationState.UNWINDING, steps, cancel=cancel, overdue=overdue)
        happened = [i for i, s in enumerate(steps) if s in MAY_HAVE_HAPPENED]
        expected = Undo(happened[-1]) if happened else Finish(OperationState.FAILED)
        assert moves.next_move(found) == expected, steps


def test_an_operation_unwound_for_a_cancel_ends_cancelled_and_any_other_failed():
    nothing_left = (StepState.UNDONE, StepState.UNDONE, StepState.PENDING, StepState.PENDING)
    for code, end in {
        "cancelled": OperationState.CANCELLED,
        "dns_conflict": OperationState.FAILED,
        "deadline_exceeded": OperationState.FAILED,
    }.items():
        found = operation(OperationState.UNWINDING, nothing_left, error={"code": code})
        assert moves.next_move(found) == Finish(end)


def test_following_the_moves_always_ends_and_never_goes_forward_again_once_turned():
    for cut in range(2 * len(PLAN.steps)):
        found, seen = operation(OperationState.RUNNING), []
        for turn in range(20):
            if turn == cut and not found.pivot_done:
                found = operation(found.state, [s.state for s in found.steps], cancel=True)
            move = moves.next_move(found)
            if isinstance(move, Finish):
                break
            found = _made(found, move)
            seen.append(type(move))
        else:
            pytest.fail("the moves do not end")
        if Unwind in seen:
            assert Perform not in seen[seen.index(Unwind) :]


def _made(found, move):
    match move:
        case Perform(ordinal):
            return found.with_step(ordinal, state=StepState.DONE)
        case Undo(ordinal):
            return found.with_step(ordinal, state=StepState.UNDONE)
        case Unwind(code):
            states = [s.state for s in found.steps]
            return operation(OperationState.UNWINDING, states, cancel=True, error={"code": code})


def tried(attempt=1, undo_attempt=0, *, pivot=StepState.PENDING):
    found = operation(OperationState.RUNNING, (StepState.DONE,) * 2 + (pivot, StepState.PENDING))
    return found.with_step(1, attempt=attempt, undo_attempt=undo_attempt)


def test_a_transient_failure_is_tried_again_after_1_2_4_and_at_most_600_seconds():
    waits = [moves.after_failure(tried(n), 1, permanent=False) for n in (1, 2, 3, 9, 10, 11, 99)]
    assert waits == [Retry(s) for s in (1.0, 2.0, 4.0, 256.0, 512.0, 600.0, 600.0)]


def test_a_retry_never_comes_before_the_provider_wants_it():
    assert moves.after_failure(tried(1), 1, permanent=False, retry_after_s=30) == Retry(30)
    assert moves.after_failure(tried(10), 1, permanent=False, retry_after_s=30) == Retry(512.0)


def test_a_permanent_failure_turns_round_before_the_pivot_and_parks_after_it():
    before = moves.after_failure(tried(), 1, permanent=True)
    after = moves.after_failure(tried(pivot=StepState.DONE), 3, permanent=True)
    assert isinstance(before, Unwind)
    assert "second" in before.detail
    assert before.step == "second"
    assert after == Park()


def test_an_undo_is_tried_again_until_its_budget_is_used_up_then_parked():
    def verdict(n, *, permanent=False):
        return moves.after_failed_undo(tried(undo_attempt=n), 1, permanent=permanent)

    assert verdict(1) == Retry(1.0)
    assert verdict(7) == Retry(64.0)
    assert verdict(8) == Park()
    assert verdict(1, permanent=True) == Park()


def test_what_turns_an_operation_round_is_told_in_a_code_and_a_sentence():
    broken = moves.after_failure(tried(), 1, permanent=True)
    assert broken == Unwind("step_failed", "The step 'second' failed.", "second")
    assert Unwind("cancelled", "The operation was cancelled.") == moves.CANCELLED
    assert (
        Unwind("deadline_exceeded", "The operation did not end within its deadline.")
        == moves.OVERDUE
    )
