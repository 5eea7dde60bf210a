"""Three harnesses over every plan: each step twice, each step failing, each undo twice."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from controlplane.domain.operations import Action
from controlplane.errors import Permanent, Transient
from controlplane.provisioning import requests
from controlplane.store.operations import OperationView
from tests.engine.faults import Failure, Repeated, ThereAndBack
from tests.engine.ground import Ground
from tests.engine.lab import ACTOR, Lab
from tests.engine.plans_under_test import ONE_WAY, SCENARIOS, Scenario
from tests.engine.world import assert_world

pytestmark = [pytest.mark.anyio]

PER_STEP = [
    pytest.param(scenario, name, id=f"{scenario}-{name}")
    for scenario in SCENARIOS
    for name in scenario.before_pivot
]
BEHIND = [
    pytest.param(scenario, name, id=f"{scenario}-{name}")
    for scenario in SCENARIOS
    for name in scenario.behind_pivot
]


def alternating(params: list[Any], values: Sequence[Any]) -> list[Any]:
    """Each with every value where most is done; elsewhere one after the other takes the next."""
    return [
        pytest.param(*param.values, value, id=f"{param.id}-{getattr(value, '__name__', value)}")
        for place, param in enumerate(params)
        for value in (
            values if param.values[0].plan.kind == "provision" else [values[place % len(values)]]
        )
    ]


BEFORE_OR_AFTER = pytest.mark.parametrize(
    "after_effect", [False, True], ids=["before-effect", "after-effect"]
)


def method_of(scenario: Scenario, name: str, *, undo: bool = False) -> str:
    action: Action = next(s.action for s in scenario.plan.steps if s.name == name)
    return str(action.undo if undo else action)


async def state_of(lab: Lab, operation: OperationView) -> str:
    (row,) = await lab.sql(
        "SELECT state FROM public.tenants WHERE id = :id", id=operation.tenant_id
    )
    return str(row.state)


@pytest.fixture
async def lab(ground: Ground) -> AsyncIterator[Lab]:
    """One lab for the hundreds of cases here, each with the bystander alone when it begins."""
    async with ground.anew():
        yield ground.lab


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
async def test_every_step_done_twice_leaves_the_same_world(ground, lab, scenario):
    tenant_id = await ground.prepare(scenario)
    lab.wrap(Repeated)

    operation = await lab.settle(await scenario.ask(lab, tenant_id))

    assert operation.state == "succeeded"
    assert await state_of(lab, operation) == scenario.succeeded
    await assert_world(lab)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
async def test_doing_and_undoing_in_any_order_ends_in_the_same_world(ground, lab, scenario):
    tenant_id = await ground.prepare(scenario)
    lab.steps = {
        name: step if name in ONE_WAY else ThereAndBack(step) for name, step in lab.steps.items()
    }

    operation = await lab.settle(await scenario.ask(lab, tenant_id))

    assert operation.state == "succeeded", operation
    await assert_world(lab)


@pytest.mark.parametrize(("scenario", "name"), PER_STEP)
@BEFORE_OR_AFTER
async def test_a_failing_step_unwinds_exactly_what_came_before_it(
    ground, lab, scenario, name, after_effect
):
    tenant_id = await ground.prepare(scenario)
    failure = Failure(name, method_of(scenario, name), after_effect=after_effect)
    lab.steps = failure.wrap(lab.steps)

    operation = await lab.settle(await scenario.ask(lab, tenant_id))

    assert operation.state == "failed"
    assert operation.error["step"] == name
    assert operation.error["code"] == "step_failed"
    assert failure.raised == 1
    await _assert_undone_up_to(lab, scenario, operation, name)
    assert await state_of(lab, operation) == scenario.rolled_back
    await assert_world(lab)


async def _assert_undone_up_to(lab, scenario, operation, failing):
    names = [step.name for step in scenario.plan.steps]
    before = names[: names.index(failing)]
    states = {step.name: step.state for step in operation.steps}
    assert {name for name in before if states[name] == "undone"} == set(before)
    behind = names[names.index(failing) + 1 :]
    assert {states[name] for name in behind} <= {"pending"}
    undone = await lab.sql(
        "SELECT step FROM public.operation_events"
        " WHERE operation_id = :id AND type = 'undo_done' ORDER BY seq",
        id=operation.id,
    )
    order = [row.step for row in undone]
    assert order == [n for n in reversed(names[: names.index(failing) + 1]) if n in order]


@pytest.mark.parametrize(("scenario", "name"), PER_STEP)
async def test_undoing_twice_is_undoing_once(ground, lab, scenario, name):
    tenant_id = await ground.prepare(scenario)
    lab.wrap(Repeated)
    lab.steps = Failure(name, method_of(scenario, name), after_effect=True).wrap(lab.steps)

    operation = await lab.settle(await scenario.ask(lab, tenant_id))

    assert operation.state == "failed"
    assert operation.error["step"] == name
    assert await state_of(lab, operation) == scenario.rolled_back
    await assert_world(lab)


@pytest.mark.parametrize(
    ("scenario", "name", "after_effect"), alternating([*PER_STEP, *BEHIND], (False, True))
)
async def test_a_step_that_fails_for_a_while_is_tried_until_it_works(
    ground, lab, scenario, name, after_effect
):
    tenant_id = await ground.prepare(scenario)
    failure = Failure(
        name,
        method_of(scenario, name),
        error=Transient("away for a moment"),
        after_effect=after_effect,
        times=3,
    )
    lab.steps = failure.wrap(lab.steps)

    operation = await lab.settle(await scenario.ask(lab, tenant_id))

    assert operation.state == "succeeded"
    assert failure.raised == 3
    assert {s.name: s.attempt for s in operation.steps}[name] == 4
    await assert_world(lab)


@pytest.mark.parametrize(
    ("scenario", "name", "error"),
    alternating([p for p in PER_STEP if p.values[1] not in ONE_WAY], (Transient, Permanent)),
)
async def test_an_undo_that_keeps_failing_parks_and_ends_clean_once_it_is_resumed(
    ground, lab, scenario, name, error
):
    tenant_id = await ground.prepare(scenario)
    healthy = dict(lab.steps)
    undo = Failure(name, method_of(scenario, name, undo=True), error=error("stuck"))
    pivot = scenario.plan.steps[scenario.plan.pivot].name
    fail = Failure(pivot, method_of(scenario, pivot))
    lab.steps = undo.wrap(fail.wrap(lab.steps))

    operation = await lab.settle(await scenario.ask(lab, tenant_id))

    assert operation.state == "parked"
    assert operation.error["parked"]["step"] == name
    assert undo.raised == (8 if error is Transient else 1)
    lab.steps = fail.wrap(healthy)
    await resume(lab, operation)
    assert (await lab.settle(operation)).state == "failed"
    await assert_world(lab)


@pytest.mark.parametrize(("scenario", "name"), BEHIND)
async def test_a_permanent_failure_behind_the_pivot_parks_and_goes_on_once_resumed(
    ground, lab, scenario, name
):
    tenant_id = await ground.prepare(scenario)
    healthy = dict(lab.steps)
    lab.steps = Failure(name, method_of(scenario, name)).wrap(lab.steps)

    operation = await lab.settle(await scenario.ask(lab, tenant_id))

    assert operation.state == "parked"
    lab.steps = healthy
    await resume(lab, operation)
    assert (await lab.settle(operation)).state == "succeeded"
    assert await state_of(lab, operation) == scenario.succeeded
    await assert_world(lab)


async def resume(lab, operation):
    async with lab.parts.control.begin() as conn:
        await requests.resume(conn, operation.id, actor=ACTOR)
