"""Targets in one message each: what is on the usual way goes it, and whatever is not is looked at."""

import asyncio

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from controlplane.domain.rollouts import RolloutState
from tests.integration.fleet.ground import AFTER, NAMES

pytestmark = pytest.mark.anyio

ALL_DONE = dict.fromkeys(NAMES, "done")


async def _places(fleet, **options):
    """What a worker comes by until it rests."""
    seen = []

    async def see(place):
        seen.append(place)

    await fleet.work(fleet.roller(failpoint=see, in_one_message=True, **options))
    return seen


async def test_a_target_is_one_message_where_nothing_stands_against_it(fleet):
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
