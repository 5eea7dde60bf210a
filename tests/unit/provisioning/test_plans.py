"""A plan as it is pinned in a row, and read again by this release or another."""

import json

import pytest

from controlplane.domain.operations import Reach
from controlplane.provisioning.plans import PLANS, PROVISION, plan_from_json, plan_to_json


def pinned(plan, **more):
    return json.loads(json.dumps(plan_to_json(plan, **more)))


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_a_pinned_plan_is_read_as_it_was(plan):
    assert plan_from_json(plan.kind, plan.version, pinned(plan)) == plan


def test_a_step_gets_a_share_of_the_operations_time_by_its_reach():
    read = plan_from_json("provision", 1, pinned(PROVISION, deadline_s=300))
    assert {step.reach: step.deadline_s for step in read.steps} == {
        Reach.LOCAL: 120.0,
        Reach.REMOTE: 180.0,
    }


def test_a_plan_that_an_earlier_release_has_pinned_has_no_deadlines_of_steps():
    old = pinned(PROVISION, deadline_s=300)
    for step in old["steps"]:
        del step["deadline_s"]
    assert plan_from_json("provision", 1, old) == PROVISION


def test_an_earlier_release_reads_what_this_one_pins():
    keys = {"name", "action", "reach", "pivot"}
    assert all(keys <= step.keys() for step in pinned(PROVISION, deadline_s=300)["steps"])
