"""What an operation and its plan say of themselves; the transitions are proved on the database."""

from uuid import UUID

import pytest

from controlplane.domain.mail import Message
from controlplane.domain.operations import (
    FINISHED,
    STEP_TRANSITIONS,
    Action,
    Operation,
    OperationState,
    Plan,
    PlanStep,
    Reach,
    StepRecord,
    StepState,
)
from controlplane.domain.tenants import RELEASED, TRANSITIONS, TenantState

PLAN = Plan(
    "provision",
    3,
    (
        PlanStep("schema", Action.ENSURE, Reach.LOCAL),
        PlanStep("dns", Action.ENSURE, Reach.REMOTE),
        PlanStep("activate", Action.ENSURE, Reach.LOCAL, pivot=True),
    ),
    rolled_back=TenantState.FAILED,
)


def _operation(*states: StepState) -> Operation:
    names = (step.name for step in PLAN.steps)
    return Operation(
        id=UUID(int=1),
        tenant_id=UUID(int=2),
        plan=PLAN,
        params={},
        state=OperationState.RUNNING,
        steps=tuple(StepRecord(name, state) for name, state in zip(names, states, strict=True)),
        epoch=1,
    )


def test_a_plan_is_known_by_kind_and_version() -> None:
    assert PLAN.name == "provision/3"
    assert PLAN.pivot == 2


def test_undoing_what_ensures_is_making_absent_and_the_reverse() -> None:
    assert {action: action.undo for action in Action} == {
        Action.ENSURE: Action.ABSENT,
        Action.ABSENT: Action.ENSURE,
    }


@pytest.mark.parametrize("state", StepState)
def test_the_pivot_counts_only_once_it_is_done(state: StepState) -> None:
    operation = _operation(StepState.DONE, StepState.DONE, state)
    assert operation.pivot_done is (state is StepState.DONE)


def test_a_step_is_changed_in_a_copy() -> None:
    before = _operation(StepState.DONE, StepState.PENDING, StepState.PENDING)
    after = before.with_step(1, state=StepState.STARTED, attempt=1)
    assert [step.state for step in before.steps] == ["done", "pending", "pending"]
    assert [step.state for step in after.steps] == ["done", "started", "pending"]
    assert after.steps[1].attempt == 1


def test_every_state_says_what_may_follow() -> None:
    assert set(STEP_TRANSITIONS) == set(StepState)
    assert set(TRANSITIONS) == set(TenantState)


def test_a_tenant_lets_go_of_its_subdomain_only_when_nothing_is_left_to_return_to() -> None:
    assert {TenantState.PURGED, TenantState.FAILED} == RELEASED
    assert {"succeeded", "failed", "cancelled", "abandoned"} == FINISHED


def test_a_mails_repr_hides_address_and_contents() -> None:
    message = Message(
        "<1@example.com>", "ada@acme.test", "Hello", "token=t0ps3cret", "<p>t0ps3cret"
    )
    assert repr(message) == "Message(<1@example.com>)"
