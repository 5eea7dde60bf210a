"""Targets in messages: what is on the usual way goes it, and whatever is not is looked at."""

import asyncio
from dataclasses import dataclass, replace

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy import event

from controlplane.domain.naming import schema_name
from controlplane.domain.rollouts import Ask, Budget, RolloutState
from controlplane.fleet import at_once
from controlplane.fleet.journal import Due
from controlplane.fleet.upgrading import Outcome
from controlplane.fleet.ways import Compiled
from tests.integration.fleet.ground import ADDS, AFTER, BEFORE, NAMES

pytestmark = pytest.mark.anyio

ALL_DONE = dict.fromkeys(NAMES, "done")

# Seen to at the end of a transaction, by a function that finds its table by the path.
PUTS_OFF = '''
op.execute("""CREATE FUNCTION looks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF EXISTS (SELECT FROM notes WHERE body = 'bad') THEN
  RAISE check_violation; END IF; RETURN NULL; END $$""")
op.execute("CREATE TABLE looked (id int)")
op.execute("CREATE CONSTRAINT TRIGGER late AFTER INSERT ON looked INITIALLY DEFERRED"
           " FOR EACH ROW EXECUTE FUNCTION looks()")
op.execute("INSERT INTO looked VALUES (1)")
'''


@dataclass
class _Unreadable(Compiled):
    """From elsewhere, what PostgreSQL cannot read."""

    async def prepare(self, heads, *, to):
        if heads == BEFORE:
            await super().prepare(heads, to=to)

    def script(self, tenant_id, *, heads, to):
        return super().script(tenant_id, heads=heads, to=to) if heads == BEFORE else "SELEC 1;"


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


async def test_what_was_not_done_does_not_say_that_more_have_room_in_a_message(fleet):
    rollout = await fleet.begin()
    async with at_once.opened(fleet.roller().upgrader) as upgrading:
        await fleet.ask(rollout, Ask.PAUSE)
        due = Due(fleet.tenants["acme"], BEFORE)
        assert await upgrading.some(rollout, [due]) == [Outcome.MISSED]
        assert upgrading.at_most == 1


async def test_nobody_is_blamed_for_what_cannot_be_read_in_the_script_of_another(fleet):
    rollout = await fleet.begin()
    upgrader = replace(fleet.roller().upgrader, way=_Unreadable(fleet.new))
    dues = [Due(fleet.tenants["acme"], BEFORE), Due(fleet.tenants["globex"], "elsewhere")]
    async with at_once.opened(upgrader) as upgrading:
        assert await upgrading.some(rollout, dues) == [Outcome.DONE]


@pytest.mark.parametrize("in_one_message", [True, False])
async def test_what_fails_at_the_end_of_a_transaction_is_entered_and_keeps_nobody_else(
    fleet, in_one_message
):
    template = fleet.templates("puts_off", ADDS + PUTS_OFF)
    rollout = await fleet.begin(of=template, budget=Budget(count=1))
    with fleet.owned("hooli") as conn:
        conn.execute("UPDATE notes SET body = 'bad'")
    schemas = [Identifier(schema_name(tenant)) for tenant in fleet.tenants.values()]
    try:
        await fleet.work(fleet.roller(of=template, in_one_message=in_one_message))
        assert await fleet.states(rollout) == {**ALL_DONE, "hooli": "failed"}
    finally:
        with fleet.place.superuser() as conn:
            for schema in schemas:
                drop = SQL("DROP TABLE IF EXISTS {}.looked; DROP FUNCTION IF EXISTS {}.looks()")
                conn.execute(drop.format(schema, schema))


async def test_an_owner_without_the_right_to_set_config_goes_by_messages(fleet):
    with psycopg.connect(fleet.database.owner_url) as conn:
        row = conn.execute("SELECT current_user").fetchone()
    assert row is not None
    function = "EXECUTE ON FUNCTION pg_catalog.set_config"
    owner = Identifier(row[0])
    with fleet.place.superuser() as conn:
        conn.execute(SQL("REVOKE " + function + " FROM {}").format(owner))
    try:
        rollout = await fleet.begin()
        assert await _places(fleet) == ["after-commit"] * len(NAMES)
        assert await fleet.states(rollout) == ALL_DONE
    finally:
        with fleet.place.superuser() as conn:
            conn.execute(SQL("GRANT " + function + " TO {}").format(owner))


async def test_a_lane_takes_another_connection_after_a_stretch_of_targets(fleet):
    given_up = []

    def note(*_):
        given_up.append(1)

    roller = replace(fleet.roller(lanes=1), stretch=2)
    await fleet.begin()
    await fleet.engine.dispose()
    event.listen(fleet.engine.sync_engine.pool, "invalidate", note)
    await fleet.work(roller)
    assert fleet.revisions() == dict.fromkeys(NAMES, AFTER)
    # Messages of several may make a stretch longer.
    assert 1 <= len(given_up) <= len(NAMES) / 2


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
