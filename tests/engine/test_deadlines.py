"""A step has a share of its operation's time: one that does not end within it is given up before
the pivot, and shown behind it."""

import asyncio
from dataclasses import replace

import pytest

from controlplane.errors import Transient
from controlplane.provisioning import lifecycle
from controlplane.provisioning.crew import nowhere
from tests.engine.faults import Failure, Wrapped
from tests.engine.lab import ACTOR
from tests.engine.test_happy_path import events
from tests.engine.world import assert_world

pytestmark = [pytest.mark.anyio]


async def outlast(lab, operation, *names):
    """As if the steps had been begun an hour ago."""
    await lab.sql(
        "UPDATE public.operation_steps SET started_at = started_at - interval '1 hour'"
        " WHERE operation_id = :id AND name = ANY (:names)",
        id=operation.id,
        names=list(names),
    )


async def assert_given_up(lab, operation, step):
    ended = await lab.settle(operation)
    assert ended.state == "failed"
    assert ended.error["code"] == "deadline_exceeded"
    assert ended.error["step"] == step
    assert f"'{step}'" in ended.error["detail"]
    world = await assert_world(lab)
    assert world.tenants[operation.tenant_id].state == "failed"
    assert "acme" not in world.records


class Hanging(Wrapped):
    """Its calls have their effect, and no answer ever comes."""

    async def call(self, method, *args):
        await super().call(method, *args)
        await asyncio.Event().wait()


@pytest.mark.database_near
async def test_a_dns_call_that_hangs_is_cut_off_and_its_step_given_up_at_its_deadline(lab):
    healthy = lab.steps["dns"]
    lab.steps["dns"] = Hanging(healthy)
    operation = await lab.create("acme")
    engine = lab.engine()
    engine.crew = replace(engine.crew, timing=replace(engine.crew.timing, call_s=0.2))
    assert await lab.drive_once(engine=engine)
    (step,) = [s for s in (await lab.view(operation.id)).steps if s.name == "dns"]
    assert (step.state, step.last_error["detail"]) == ("started", "There was no answer in time.")
    lab.steps["dns"] = healthy

    await outlast(lab, operation, "dns")
    await assert_given_up(lab, operation, "dns")


async def test_dns_that_never_spreads_is_given_up_at_the_deadline_of_its_step(lab):
    lab.dns.pending = 1_000_000
    operation = await lab.create("acme")
    await lab.drive_once()

    await outlast(lab, operation, "dns")
    await assert_given_up(lab, operation, "dns")


@pytest.mark.parametrize("step", ["schema", "admin", "dns", "verify", "activate"])
async def test_a_step_that_fails_for_ever_in_passing_is_given_up_at_its_deadline(lab, step):
    failure = Failure(step, "ensure", error=Transient("away"))
    lab.steps = failure.wrap(lab.steps)
    operation = await lab.create("acme")
    await lab.drive_once()
    assert failure.raised == 1

    await outlast(lab, operation, step)
    await assert_given_up(lab, operation, step)
    assert failure.raised == 1, "it was tried again past its deadline"


async def test_the_deadline_of_a_step_is_seen_at_its_fence_too(lab):
    lab.dns.pending = 1
    operation = await lab.create("acme")
    await lab.drive_once()

    async def late(place):
        if place == "step:dns:before-intent":
            await outlast(lab, operation, "dns")

    lab.failpoint = late
    asked = len(lab.dns.calls)
    await lab.expire()
    await lab.drive_once()

    assert "propagation" not in [method for method, _ in lab.dns.calls[asked:]]
    lab.failpoint = nowhere
    await assert_given_up(lab, operation, "dns")


async def test_the_time_of_steps_that_are_done_is_not_held_against_the_next(lab):
    lab.dns.pending = 1
    operation = await lab.create("acme")
    await lab.drive_once()

    await outlast(lab, operation, "schema", "admin")

    assert (await lab.settle(operation)).state == "succeeded"


async def test_a_plan_that_was_pinned_without_deadlines_keeps_to_the_operations_alone(lab):
    lab.dns.pending = 1
    operation = await lab.create("acme")
    await lab.sql(
        "UPDATE public.operations SET plan = jsonb_set(plan, '{steps}', (SELECT jsonb_agg("
        "s - 'deadline_s' ORDER BY n) FROM jsonb_array_elements(plan->'steps')"
        " WITH ORDINALITY t (s, n))) WHERE id = :id",
        id=operation.id,
    )
    await lab.drive_once()
    await outlast(lab, operation, "dns")

    assert (await lab.settle(operation)).state == "succeeded"


async def repairing(lab):
    """A repair that stands behind its pivot, before its DNS."""
    tenant_id = await lab.active("acme")
    lab.dns.records.pop("acme")
    async with lab.parts.control.begin() as conn:
        return await lifecycle.repair(conn, tenant_id, actor=ACTOR, deadline_s=300)


async def test_behind_the_pivot_a_wait_past_the_deadline_goes_on_in_sight(lab):
    lab.dns.pending = 3
    operation = await repairing(lab)
    await lab.drive_once()
    await outlast(lab, operation, "dns")
    await lab.expire()
    await lab.drive_once()

    (step,) = [s for s in (await lab.view(operation.id)).steps if s.name == "dns"]
    assert (step.state, step.last_error["code"]) == ("started", "deadline_exceeded")
    assert (await lab.settle(operation)).state == "succeeded"


async def test_behind_the_pivot_a_failure_past_the_deadline_is_tried_again_in_sight(lab):
    operation = await repairing(lab)
    lab.steps = Failure("dns", "ensure", error=Transient("away"), times=2).wrap(lab.steps)
    await lab.drive_once()
    (step,) = [s for s in (await lab.view(operation.id)).steps if s.name == "dns"]
    assert "overdue" not in step.last_error
    await outlast(lab, operation, "dns")
    await lab.expire()
    await lab.drive_once()

    (step,) = [s for s in (await lab.view(operation.id)).steps if s.name == "dns"]
    assert step.last_error["overdue"] is True
    assert (await lab.settle(operation)).state == "succeeded"
    assert "- unwinding" not in await events(lab, operation)
