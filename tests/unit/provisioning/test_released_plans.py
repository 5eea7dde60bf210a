"""The plans as they were released. What has changed gets a new version, and a line of its own here."""

import pytest

from controlplane.domain.operations import Action, Plan, PlanStep, Reach
from controlplane.provisioning.plans import PLANS

# `-` takes away, `~` is outside the database, `!` is the pivot; then the tenant's state after a
# rollback, where it is not the one it had.
RELEASED = {
    "provision/1": "schema admin dns~ verify~ activate! failed",
    "deprovision/1": "-dns~ -sessions retire!",
    "purge/1": "condemn! -dns~ -schema bury",
    "suspend/1": "suspend!",
    "resume/1": "verify~ serve!",
    "restore/1": "dns~ verify~ serve!",
    "repair/1": "inspect! upgrade admin dns~ verify~",
    "welcome/1": "welcome!",
    "rename/1": "new_record~ switch! -old_record~",
    "clean/1": "disown! -orphan_record~ -orphan_schema",
}


def _told(plan: Plan) -> str:
    steps = [_step(step) for step in plan.steps]
    return " ".join([*steps, plan.rolled_back] if plan.rolled_back else steps)


def _step(step: PlanStep) -> str:
    away = "-" if step.action is Action.ABSENT else ""
    outside = "~" if step.reach is Reach.REMOTE else ""
    return f"{away}{step.name}{outside}{'!' if step.pivot else ''}"


def test_the_plans_are_those_that_were_released() -> None:
    assert {plan.name: _told(plan) for plan in PLANS} == RELEASED


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_a_plan_has_one_pivot_in_the_database_and_names_each_step_once(plan: Plan) -> None:
    (pivot,) = [step for step in plan.steps if step.pivot]
    assert pivot.reach is Reach.LOCAL
    assert pivot.action is Action.ENSURE
    names = [step.name for step in plan.steps]
    assert len(names) == len(set(names))
