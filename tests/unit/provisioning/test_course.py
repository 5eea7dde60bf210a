"""One step in one direction: what is counted, and what its failpoints are called."""

from uuid import UUID

import pytest

from controlplane.domain.operations import (
    Action,
    Operation,
    OperationState,
    StepRecord,
    StepState,
)
from controlplane.provisioning.course import Course
from controlplane.provisioning.plans import PURGE
from controlplane.provisioning.step import Later

SCHEMA = 2


def operation():
    return Operation(
        id=UUID(int=1),
        tenant_id=UUID(int=2),
        plan=PURGE,
        params={},
        state=OperationState.RUNNING,
        steps=tuple(StepRecord(step.name, attempt=3, undo_attempt=5) for step in PURGE.steps),
        epoch=1,
    )


def test_back_is_the_opposite_of_forward():
    there, back = Course.forward(operation(), SCHEMA), Course.back(operation(), SCHEMA)
    assert (there.action, back.action) == (Action.ABSENT, Action.ENSURE)
    assert (there.started, there.done) == (StepState.STARTED, StepState.DONE)
    assert (back.started, back.done) == (StepState.UNDO_STARTED, StepState.UNDONE)
    assert (there.is_forward, back.is_forward) == (True, False)
    assert there.place("after-effect") == "step:schema:after-effect"
    assert back.place("after-effect") == "undo:schema:after-effect"


@pytest.mark.parametrize(("direction", "counts"), [(Course.forward, (4, 5)), (Course.back, (3, 6))])
def test_a_try_is_counted_in_its_own_direction(direction, counts):
    course = direction(operation(), SCHEMA)
    step = course.tried(operation(), state=course.done, output={"n": 1}).steps[SCHEMA]
    assert (step.attempt, step.undo_attempt) == counts
    assert (step.state, step.output) == (course.done, {"n": 1})


@pytest.mark.parametrize(("direction", "counts"), [(Course.forward, (0, 5)), (Course.back, (3, 0))])
def test_a_wait_is_no_failed_try_and_leaves_the_step_begun(direction, counts):
    course = direction(operation(), SCHEMA)
    step = course.waiting(operation(), Later(1, {"n": 1})).steps[SCHEMA]
    assert (step.attempt, step.undo_attempt) == counts
    assert (step.state, step.output) == (course.started, {"n": 1})
