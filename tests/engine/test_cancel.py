"""Cancel at every boundary, the race with the pivot, and the deadline."""

import asyncio

import psycopg
import pytest

from controlplane.errors import InvalidState
from controlplane.provisioning import requests
from controlplane.provisioning.plans import PROVISION
from controlplane.store.operations import OperationView
from tests.engine.lab import ACTOR, Lab
from tests.engine.test_kill import LOCAL, REMOTE
from tests.engine.world import assert_world

pytestmark = [pytest.mark.anyio]

PLACES = [
    f"step:{step.name}:{place}"
    for step in PROVISION.steps
    for place in (LOCAL if step.reach == "local" else REMOTE)
]
# Inside an open local transaction the row is locked, and the cancel is seen at the next fence.
PAST_THE_PIVOT = {f"step:activate:{p}" for p in LOCAL if p != "before-begin"}
# The cancel waits for this commit, and then for the row against the pivot itself.
RACING = "step:verify:before-commit"


async def cancel(lab, operation):
    async with lab.parts.control.begin() as conn:
        return await requests.cancel(conn, operation.id, actor=ACTOR)


@pytest.mark.parametrize("place", PLACES)
async def test_a_cancel_at_any_boundary_has_exactly_one_outcome(lab, place):
    operation = await lab.create("acme")
    asked: list[asyncio.Task[bool]] = []

    async def cancel_here(here):
        if here == place and not asked:
            asked.append(asyncio.create_task(_ask(lab, operation)))
            await _answered_or_waiting(lab, asked[0])

    lab.failpoint = cancel_here
    ended = await lab.settle(operation)

    accepted = await asked[0]
    assert ended.state == ("cancelled" if accepted else "succeeded")
    if place != RACING:
        assert accepted == (place not in PAST_THE_PIVOT)
    if accepted:
        assert ended.error["code"] == "cancelled"
    await assert_world(lab)


async def _answered_or_waiting(lab: Lab, task: asyncio.Task[bool]) -> None:
    """Until the cancel is through, or waits for the lock of the operation's row."""
    waiting = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
        " AND usename = 'cp_control' AND wait_event_type = 'Lock'"
    )
    # As the superuser: others do not see what a session waits for.
    connecting = psycopg.AsyncConnection.connect(lab.database.superuser_url, autocommit=True)
    async with await connecting as conn:
        while not task.done():
            if await (await conn.execute(waiting)).fetchone():
                return
            await asyncio.sleep(0.01)


async def _ask(lab: Lab, operation: OperationView) -> bool:
    try:
        await cancel(lab, operation)
    except InvalidState:
        return False
    return True


async def test_cancelling_what_was_never_begun_leaves_nothing(lab):
    operation = await lab.create("acme")
    await cancel(lab, operation)
    await cancel(lab, operation)

    ended = await lab.settle(operation)

    assert ended.state == "cancelled"
    assert {step.state for step in ended.steps} == {"pending"}


async def test_what_has_ended_cannot_be_cancelled(lab):
    operation = await lab.settle(await lab.create("acme"))
    with pytest.raises(InvalidState, match="succeeded"):
        await cancel(lab, operation)


async def test_an_operation_past_its_deadline_is_rolled_back(lab):
    operation = await lab.create("acme")

    async def late(place):
        if place == "step:dns:before-intent":
            await lab.sql(
                "UPDATE public.operations SET deadline_at = clock_timestamp() WHERE finished_at IS NULL"
            )

    lab.failpoint = late
    ended = await lab.settle(operation)

    assert ended.state == "failed"
    assert ended.error["code"] == "deadline_exceeded"


async def test_a_step_that_never_answers_is_cut_off_and_rolled_back_at_the_deadline(lab):
    operation = await lab.create("acme")
    lab.dns.pending = 1_000_000

    assert await lab.drive_once()
    assert (await lab.view(operation.id)).steps[2].state == "started"
    await lab.sql(
        "UPDATE public.operations SET deadline_at = clock_timestamp() WHERE finished_at IS NULL"
    )
    ended = await lab.settle(operation)

    assert ended.error["code"] == "deadline_exceeded"


async def test_a_change_that_spreads_slowly_is_waited_for_without_holding_the_worker(lab):
    lab.dns.pending = 3
    operation = await lab.create("acme")

    ended = await lab.settle(operation)

    assert ended.state == "succeeded"
    asked = [call for call in lab.dns.calls if call == ("ensure", "acme")]
    assert len(asked) == 1, "the change was made again instead of being asked about"
