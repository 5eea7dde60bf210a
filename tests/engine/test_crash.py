"""A worker dies at every failpoint of every plan, forward and undoing; another one finishes."""

import pytest

from controlplane.provisioning import requests
from controlplane.provisioning.step import Later
from tests.engine import failpoints
from tests.engine.faults import Wrapped
from tests.engine.lab import ACTOR
from tests.engine.lives import at, never
from tests.engine.plans_under_test import SCENARIOS

pytestmark = [pytest.mark.anyio]

COURSES = [
    pytest.param(scenario, undoing, id=f"{scenario}-{'undoing' if undoing else 'forward'}")
    for scenario in SCENARIOS
    for undoing in (False, True)
]


@pytest.mark.parametrize(("scenario", "undoing"), COURSES)
async def test_a_drive_passes_exactly_the_failpoints_that_are_registered(trial, scenario, undoing):
    operation = await trial.begin()

    life = await trial.live(never)

    plan, passed = scenario.plan, life.passed
    if undoing:
        passed = passed[passed.index(f"operation:{plan.kind}:before-unwind") :]
    expected = failpoints.unwinding(plan) if undoing else failpoints.forward(plan)
    assert sorted(passed) == sorted(expected)
    await trial.end(operation)


@pytest.mark.parametrize(("scenario", "undoing"), COURSES)
async def test_a_worker_that_dies_anywhere_leaves_the_rest_to_another(
    trial, scenario, undoing, chance
):
    plan = scenario.plan
    places = failpoints.unwinding(plan) if undoing else failpoints.forward(plan)
    if scenario.name:
        # Where a plan has several scenarios, the one without a name dies everywhere.
        places = places[chance.randrange(3) :: 3]
    for place in places:
        operation = await trial.begin()
        assert (await trial.live(at(place))).died, f"{place} was not reached"
        await trial.end(operation)


@pytest.mark.parametrize(("scenario", "undoing"), COURSES)
async def test_a_worker_that_dies_where_a_step_waits_leaves_the_rest_to_another(
    trial, scenario, undoing
):
    way = "undo:" if undoing else "step:"
    actions = {step.name: step.action for step in scenario.plan.steps}
    for place in failpoints.waits(scenario.plan):
        if place.startswith(way):
            operation = await trial.begin()
            name = place.split(":")[1]
            method = actions[name].undo if undoing else actions[name]
            waiting = WaitsOnce(trial.lab.steps[name], method)
            trial.lab.steps = {**trial.lab.steps, name: waiting}
            assert (await trial.live(at(place))).died, f"{place} was not reached"
            await trial.end(operation)


@pytest.mark.parametrize("undoing", [False])
@pytest.mark.parametrize("scenario", [s for s in SCENARIOS if s.plan.pivot], ids=str)
async def test_whatever_a_dead_worker_has_begun_is_undone_by_a_cancel(trial, scenario, chance):
    plan = scenario.plan
    pivot = f"step:{plan.steps[plan.pivot].name}:after-commit"
    places = failpoints.forward(plan)
    places = places[: places.index(pivot)]
    if plan.kind != "provision":
        # The journal that a death leaves is the same whatever follows; which half, the seed says.
        places = places[chance.randrange(2) :: 2]
    for place in places:
        operation = await trial.begin()
        assert (await trial.live(at(place))).died, f"{place} was not reached"
        async with trial.lab.parts.control.begin() as conn:
            await requests.cancel(conn, operation.id, actor=ACTOR)
        await trial.end(operation, cancelled=True)


class WaitsOnce(Wrapped):
    """Asks for time at the first call of one method."""

    def __init__(self, step, method):
        super().__init__(step)
        self.method, self.is_over = method, False

    async def call(self, method, *args):
        if self.is_over or method != self.method:
            return await super().call(method, *args)
        self.is_over = True
        return Later(0.0)
