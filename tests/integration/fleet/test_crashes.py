"""Whatever dies in the middle of a rollout: every tenant is exactly before or after, and others go on."""

import asyncio
import os
import signal

import pytest

from controlplane.domain.rollouts import ENDED, RolloutState
from tests.integration.fleet.ground import AFTER, BEFORE, NAMES, WAIT, until_one_waits
from tests.integration.fleet.mortals import Mortals

pytestmark = pytest.mark.anyio

ALL_DONE = dict.fromkeys(NAMES, "done")
_PATIENCE_S = 60


@pytest.fixture(scope="module")
def mortals():
    with Mortals() as made:
        yield made


async def finish(fleet, rollout, *, of=None):
    """Work until it has ended: the server may take a moment to see that somebody is gone."""
    async with asyncio.timeout(_PATIENCE_S):
        while (await fleet.view(rollout)).state not in ENDED:
            await fleet.work(fleet.roller(of=of))
    return (await fleet.view(rollout)).state


# Behind a message several have been upgraded, how many depends on how quick the first one was.
@pytest.mark.parametrize(
    ("place", "upgraded"),
    [
        ("held", {1}),
        ("upgraded", {1}),
        ("before-commit", {1}),
        ("after-commit", {2, 3, 4, 5, 6}),
    ],
)
async def test_a_worker_killed_at_any_place_leaves_each_tenant_before_or_after(
    fleet, mortals, place, upgraded
):
    rollout = await fleet.begin()
    await asyncio.to_thread(
        mortals.die,
        url=fleet.database.owner_url,
        installation=fleet.database.installation,
        folder=fleet.new.application,
        place=place,
        visit=2,
    )
    found, states = fleet.revisions(), await fleet.states(rollout)
    assert states == {n: "done" if found[n] == AFTER else "pending" for n in NAMES}
    assert list(found.values()).count(AFTER) in upgraded
    assert await finish(fleet, rollout) is RolloutState.SUCCEEDED
    assert fleet.revisions() == dict.fromkeys(NAMES, AFTER)


async def test_a_worker_killed_while_the_server_does_what_it_was_told(fleet, mortals):
    """Nobody is left to hear that it is done, or that it is not."""
    waits = fleet.waiting()
    rollout = await fleet.begin(of=waits, lock_timeout_ms=60_000)
    with fleet.place.superuser() as conn:
        conn.execute(WAIT)
        worker = await asyncio.to_thread(
            mortals.begin,
            url=fleet.database.owner_url,
            installation=fleet.database.installation,
            folder=waits.application,
        )
        await until_one_waits(conn)
        os.kill(worker, signal.SIGKILL)
        assert await asyncio.to_thread(mortals.signal) == signal.SIGKILL
    before_or_after = list(fleet.revisions().values())
    assert set(before_or_after) <= {BEFORE, AFTER}
    assert before_or_after.count(AFTER) <= 1
    assert await finish(fleet, rollout, of=waits) is RolloutState.SUCCEEDED
    assert fleet.revisions() == dict.fromkeys(NAMES, AFTER)


@pytest.mark.parametrize("place", ["held", "upgraded", "before-commit"])
async def test_a_server_that_ends_all_sessions_midway_stops_no_worker(fleet, place):
    """As a restart does."""
    visits = 0

    async def end_all(at):
        nonlocal visits
        visits += at == place
        if visits == 3 and at == place:
            with fleet.place.superuser() as conn:
                conn.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )

    rollout = await fleet.begin()
    await _run(fleet, rollout, end_all)
    assert visits >= 3
    assert (await fleet.view(rollout)).state is RolloutState.SUCCEEDED
    assert await fleet.states(rollout) == ALL_DONE
    assert fleet.revisions() == dict.fromkeys(NAMES, AFTER)


async def test_a_fault_of_our_own_breaks_a_turn_and_no_worker(fleet):
    visits = 0

    async def fail(at):
        nonlocal visits
        visits += at == "upgraded"
        if visits == 2 and at == "upgraded":
            raise ZeroDivisionError

    rollout = await fleet.begin()
    await _run(fleet, rollout, fail)
    assert await fleet.states(rollout) == ALL_DONE
    assert visits == len(NAMES) + 1


async def _run(fleet, rollout, failpoint):
    """A worker's loop, until the rollout has ended."""
    stopping = asyncio.Event()
    running = asyncio.create_task(fleet.roller(failpoint=failpoint).run(stopping))
    try:
        async with asyncio.timeout(_PATIENCE_S):
            while await _state(fleet, rollout) not in ENDED:  # noqa: ASYNC110  another task's sessions end
                await asyncio.sleep(0.02)
    finally:
        stopping.set()
        await running


async def _state(fleet, rollout):
    with fleet.place.superuser() as conn:
        row = conn.execute("SELECT state FROM public.rollouts WHERE id = %s", [rollout.id])
        return RolloutState(row.fetchone()[0])
