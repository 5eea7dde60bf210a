"""A tenant whose table of revisions somebody else has locked."""

import asyncio

import pytest

from tests.integration.fleet.ground import AFTER, BEFORE, NAMES

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("in_one_message", [True, False])
async def test_whoever_holds_a_tenants_revisions_is_not_waited_for(fleet, in_one_message):
    rollout = await fleet.begin(attempts=2)
    roller = fleet.roller(in_one_message=in_one_message, lanes=1)
    with fleet.owned("hooli") as holder:
        holder.execute("LOCK TABLE alembic_version")
        async with asyncio.timeout(60):
            await roller.turn(asyncio.Event())
        states = dict.fromkeys(NAMES, "done") | {"hooli": "pending"}
        assert await fleet.states(rollout) == states
        error, attempt = await fleet.error(rollout, "hooli")
        assert (error["code"], attempt) == ("lock_not_available", 1)
        async with asyncio.timeout(60):
            await fleet.work(roller)
        assert await fleet.states(rollout) == states | {"hooli": "failed"}
    assert fleet.revisions() == dict.fromkeys(NAMES, AFTER) | {"hooli": BEFORE}
