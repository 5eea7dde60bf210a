"""Targets in messages: what is on the usual way goes it, and whatever is not is looked at."""

import asyncio

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from controlplane.domain.rollouts import Ask, RolloutState
from controlplane.fleet import at_once
from controlplane.fleet.journal import Due
from controlplane.fleet.upgrading import Outcome
from tests.integration.fleet.ground import AFTER, BEFORE, NAMES

pytestmark = pytest.mark.anyio

ALL_DONE = dict.fromkeys(NAMES, "done")


async def _places(fleet, **options):
    """What a worker comes by until it rests."""
    seen = []

    async def see(place):
        seen.append(place)

    await fleet.work(fleet.roller(failpoint=see, in_one_message=True, **options))
    return seen


async def test_targets_go_by_messages_where_nothing_stands_against_it(fleet):
    rollout = await fleet.begin()
    assert await _places(fleet) == ["after-commit"] * len(NAMES)
    assert await fleet.states(rollout) == ALL_DONE
    assert fleet.revisions() == dict.fromkeys(NAMES, AFTER)


async def test_what_fails_is_entered_without_being_tried_again_at_once(fleet):
    rollout = await fleet.begin()
    with fleet.owned("globex") as reader:
        reader.execute("SELECT FROM notes")
        seen = []

        async def see(place):
            seen.append(place)

        roller = fleet.roller(failpoint=see, in_one_message=True, lanes=1)
        await roller.turn(asyncio.Event())
        # It is held once more to enter that it failed; what failed is not done again.
        assert sorted(seen) == sorted(["after-commit"] * len(NAMES) + ["held", "before-commit"])
        assert (await fleet.error(rollout, "globex"))[0]["code"] == "lock_not_available"


async def test_of_several_in_a_message_those_before_a_refused_one_are_done_and_the_rest_comes_again(
    fleet,
):
    rollout = await fleet.begin()
    dues = [Due(fleet.tenants[name], BEFORE) for name in NAMES]
    async with at_once.opened(fleet.roller().upgrader) as upgrading:
        with fleet.owned("hooli") as reader:
            reader.execute("SELECT FROM notes")
            outcomes = await upgrading.some(rollout, dues)
            assert outcomes == [Outcome.DONE, Outcome.DONE, Outcome.PUT_OFF]
        # What this session did before is not taken for what it did of this message.
        assert await upgrading.some(rollout, dues[1:]) == [Outcome.MISSED]
        assert await upgrading.some(rollout, dues[3:]) == [Outcome.DONE] * 3
    assert await fleet.states(rollout) == {**ALL_DONE, "hooli": "pending"}
    tries = await fleet.sql("SELECT DISTINCT attempt FROM public.rollout_targets")
    assert [row.attempt for row in tries] == [1]
    assert fleet.revisions() == {**dict.fromkeys(NAMES, AFTER), "hooli": BEFORE}


async def test_of_a_message_that_meets_a_halt_nothing_more_is_done(fleet):
    rollout = await fleet.begin()
    dues = [Due(fleet.tenants[name], BEFORE) for name in NAMES]
    async with at_once.opened(fleet.roller().upgrader) as upgrading:
        await fleet.ask(rollout, Ask.PAUSE)
        assert await upgrading.some(rollout, dues) == [Outcome.MISSED]
    assert fleet.revisions() == dict.fromkeys(NAMES, BEFORE)


async def test_many_share_a_message_as_long_as_that_takes_a_moment(fleet):
    rollout = await fleet.begin()
    dues = [Due(fleet.tenants[name], BEFORE) for name in NAMES]
    async with at_once.opened(fleet.roller().upgrader) as upgrading:
        assert upgrading.at_most == 1
        assert await upgrading.some(rollout, dues[:1]) == [Outcome.DONE]
        quick = upgrading.at_most
        with fleet.owned("globex") as reader:
            reader.execute("SELECT FROM notes")
            # It waits for a lock, for 50 ms.
            assert await upgrading.some(rollout, dues[1:]) == [Outcome.PUT_OFF]
        assert 1 == upgrading.at_most <= quick


async def test_an_owner_who_may_make_nothing_temporary_goes_step_by_step(fleet):
    with psycopg.connect(fleet.database.owner_url) as conn:
        row = conn.execute("SELECT current_database(), current_user").fetchone()
    assert row is not None
    name, owner = row
    names = {"database": Identifier(name), "owner": Identifier(owner)}
    revoke = SQL("REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC, {owner}").format(**names)
    grant = SQL("GRANT TEMPORARY ON DATABASE {database} TO PUBLIC, {owner}").format(**names)
    await fleet.engine.dispose()  # nobody has made them before
    with fleet.place.superuser() as conn:
        conn.execute(revoke)
    try:
        rollout = await fleet.begin()
        assert "held" in await _places(fleet)
        assert (await fleet.view(rollout)).state is RolloutState.SUCCEEDED
    finally:
        with fleet.place.superuser() as conn:
            conn.execute(grant)
        await fleet.engine.dispose()
