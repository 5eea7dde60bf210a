"""kill -9 of a real worker process at every boundary; another worker takes over.

Of the plan that does most; in `test_crash` workers die at every boundary of every plan, in a process
that lives on.
"""

import pytest

from controlplane.domain.operations import Plan
from tests.engine.faults import Failure
from tests.engine.lab import environment
from tests.engine.plans_under_test import SCENARIOS
from tests.engine.world import assert_world

pytestmark = [pytest.mark.anyio]

KILLED = [s for s in SCENARIOS if s.plan.kind == "provision"]

# The places that a step of each kind passes, forward and back (see provisioning/drive.py).
LOCAL = ("before-begin", "after-fence", "after-effect", "before-commit", "after-commit")
REMOTE = ("before-intent", "before-call", "after-call", "before-commit", "after-commit")
ENDING = ("before-finish", "before-finish-commit", "after-finish")


def places(plan: Plan, kind: str) -> list[str]:
    steps = plan.steps if kind == "step" else plan.steps[: plan.pivot]
    return [
        f"{kind}:{step.name}:{place}"
        for step in steps
        for place in (LOCAL if step.reach == "local" else REMOTE)
    ]


FORWARD = [
    pytest.param(scenario, place, id=f"{scenario}-{place}")
    for scenario in KILLED
    for place in [
        *places(scenario.plan, "step"),
        *(f"operation:{scenario.plan.kind}:{place}" for place in ENDING),
    ]
]


@pytest.mark.parametrize(("scenario", "place"), FORWARD)
async def test_a_worker_killed_at_any_boundary_leaves_nothing_doubled_and_nothing_half_done(
    ground, tmp_path, zygote, scenario, place
):
    async with ground.lab_anew(tmp_path, real_files=True) as lab:
        tenant_id = await scenario.prepare(lab)
        operation = await scenario.ask(lab, tenant_id)

        zygote.run_until_killed(environment(ground.database, tmp_path), place)
        ended = await lab.settle(operation)

        assert ended.state == "succeeded"
        while await lab.mailroom().deliver_one():
            pass
        world = await assert_world(lab)
        assert world.tenants[operation.tenant_id].state == scenario.succeeded
        assert len(list((tmp_path / "outbox").glob("*.eml"))) == scenario.mails


UNDOING = [
    pytest.param(scenario, place, id=f"{scenario}-{place}")
    for scenario in KILLED
    if scenario.plan.pivot
    for place in [
        f"operation:{scenario.plan.kind}:before-unwind",
        f"operation:{scenario.plan.kind}:after-unwind",
        *places(scenario.plan, "undo"),
        *(f"operation:{scenario.plan.kind}:{place}" for place in ENDING),
    ]
]


@pytest.mark.parametrize(("scenario", "place"), UNDOING)
async def test_a_worker_killed_while_it_undoes_leaves_the_rest_to_another(
    ground, tmp_path, zygote, scenario, place
):
    async with ground.lab_anew(tmp_path, real_files=True) as lab:
        tenant_id = await scenario.prepare(lab)
        failing = scenario.plan.steps[scenario.plan.pivot].name
        operation = await scenario.ask(lab, tenant_id)

        zygote.run_until_killed(environment(ground.database, tmp_path), place, fail=failing)
        lab.steps = Failure(failing, "ensure").wrap(lab.steps)
        ended = await lab.settle(operation)

        assert ended.state == "failed"
        world = await assert_world(lab)
        assert world.tenants[operation.tenant_id].state == scenario.rolled_back
