"""Rollouts over a few tenants, turn by turn."""

import asyncio
from contextlib import suppress

import pytest

from controlplane.domain.rings import parse_rings
from controlplane.domain.rollouts import Ask, Budget, RolloutState
from controlplane.errors import InvalidState, RolloutInProgress
from tests.integration.fleet.ground import AFTER, BEFORE, NAMES

pytestmark = pytest.mark.anyio

ALL_DONE = dict.fromkeys(NAMES, "done")
CANARY = parse_rings(["canary=list:hooli"])


async def test_every_schema_is_upgraded_whatever_state_its_tenant_is_in(fleet):
    await fleet.sql("UPDATE public.tenants SET state = 'suspended' WHERE subdomain = 'acme'")
    await fleet.sql("UPDATE public.tenants SET state = 'deleting' WHERE subdomain = 'hooli'")
    await fleet.sql("UPDATE public.tenants SET state = 'deleted' WHERE subdomain = 'hooli'")
    heard = await fleet.sql("SELECT max(changed_in) AS last FROM public.tenant_changes")
    rollout = await fleet.begin()
    await fleet.work()
    assert (await fleet.view(rollout)).state is RolloutState.SUCCEEDED
    assert await fleet.states(rollout) == ALL_DONE
    assert fleet.revisions() == dict.fromkeys(NAMES, AFTER)
    told = await fleet.sql(
        "SELECT DISTINCT subdomain FROM public.tenant_changes WHERE changed_in > :last",
        last=heard[0].last or 0,
    )
    assert {row.subdomain for row in told} == set(NAMES)


async def test_where_nobody_is_behind_a_rollout_ends_as_it_begins(fleet):
    await fleet.begin()
    await fleet.work()
    again = await fleet.begin()
    assert again.state is RolloutState.SUCCEEDED
    assert await fleet.states(again) == {}


async def test_the_canary_is_upgraded_first_and_the_soak_kept(fleet):
    rollout = await fleet.begin(rings=CANARY, soak_s=3600)
    await fleet.work()
    assert [name for name, at in fleet.revisions().items() if at == AFTER] == ["hooli"]
    seen = await fleet.view(rollout)
    assert (seen.state, seen.ring) == (RolloutState.RUNNING, 1)
    await fleet.sql("UPDATE public.rollouts SET run_at = now()")
    await fleet.work()
    assert (await fleet.view(rollout)).state is RolloutState.SUCCEEDED
    assert fleet.revisions() == dict.fromkeys(NAMES, AFTER)


async def test_a_tenant_broken_by_hand_is_told_of_and_the_others_upgraded(fleet):
    with fleet.owned("stark") as conn:
        conn.execute("ALTER TABLE notes ADD COLUMN title integer")
    rollout = await fleet.begin(budget=Budget(count=1))
    await fleet.work()
    assert (await fleet.view(rollout)).state is RolloutState.INCOMPLETE
    assert await fleet.states(rollout) == {**ALL_DONE, "stark": "failed"}
    error, attempt = await fleet.error(rollout, "stark")
    assert (error["code"], attempt) == ("sql_failed", 1)
    assert 'column "title" of relation "notes" already exists' in error["detail"]
    versions = await fleet.sql("SELECT subdomain, version FROM public.tenants")
    with fleet.owned("stark") as conn:
        conn.execute("ALTER TABLE notes DROP COLUMN title")
    assert (await fleet.ask(rollout, Ask.RETRY)).state is RolloutState.RUNNING
    await fleet.work()
    assert (await fleet.view(rollout)).state is RolloutState.SUCCEEDED
    assert fleet.revision("stark") == AFTER
    touched = set(await fleet.sql("SELECT subdomain, version FROM public.tenants")) - set(versions)
    assert {row.subdomain for row in touched} == {"stark"}


async def test_one_failure_too_many_halts_the_ring(fleet):
    for name in ("hooli", "stark"):
        with fleet.owned(name) as conn:
            conn.execute("ALTER TABLE notes ADD COLUMN title integer")
    rollout = await fleet.begin(rings=CANARY, budget=Budget(count=0))
    await fleet.work()
    halted = await fleet.view(rollout)
    assert halted.state is RolloutState.HALTED
    assert halted.error is not None
    assert (halted.error["ring"], halted.error["failed"]) == ("canary", 1)
    assert [name for name, at in (await fleet.states(rollout)).items() if at != "pending"] == [
        "hooli"
    ]
    with pytest.raises(InvalidState, match="halted"):
        await fleet.ask(rollout, Ask.PAUSE)
    # Whoever resumes it has seen the one that failed; the next ring has a budget of its own.
    await fleet.ask(rollout, Ask.RESUME)
    await fleet.work(fleet.roller(lanes=1))
    assert (await fleet.view(rollout)).state is RolloutState.HALTED
    for name in ("hooli", "stark"):
        with fleet.owned(name) as conn:
            conn.execute("ALTER TABLE notes DROP COLUMN title")
    await fleet.ask(rollout, Ask.RETRY)
    await fleet.work()
    assert (await fleet.view(rollout)).state is RolloutState.SUCCEEDED
    assert fleet.revisions() == dict.fromkeys(NAMES, AFTER)


async def test_a_long_reader_holds_up_nobody_but_its_own_tenant(fleet):
    rollout = await fleet.begin()
    with fleet.owned("globex") as reader:
        reader.execute("SELECT FROM notes")
        await fleet.roller().turn(asyncio.Event())
        assert await fleet.states(rollout) == {**ALL_DONE, "globex": "pending"}
        error, attempt = await fleet.error(rollout, "globex")
        assert (error["code"], attempt) == ("lock_not_available", 1)
    await fleet.work()
    assert (await fleet.view(rollout)).state is RolloutState.SUCCEEDED
    assert fleet.revision("globex") == AFTER


async def test_a_reader_who_never_ends_is_a_failure_after_so_many_attempts(fleet):
    rollout = await fleet.begin(budget=Budget(count=1), attempts=2)
    with fleet.owned("globex") as reader:
        reader.execute("SELECT FROM notes")
        await fleet.work()
        assert (await fleet.view(rollout)).state is RolloutState.INCOMPLETE
    assert (await fleet.error(rollout, "globex"))[1] == 2


async def test_a_second_rollout_is_refused_while_one_has_not_ended(fleet):
    rollout = await fleet.begin()
    with pytest.raises(RolloutInProgress):
        await fleet.begin()
    await fleet.ask(rollout, Ask.CANCEL)
    assert (await fleet.begin()).state is RolloutState.RUNNING


async def test_of_two_that_begin_at_once_one_does(fleet):
    begun = await asyncio.gather(fleet.begin(), fleet.begin(), return_exceptions=True)
    assert [type(each) for each in begun if isinstance(each, Exception)] == [RolloutInProgress]


async def test_a_paused_rollout_rests_until_it_is_resumed(fleet):
    rollout = await fleet.begin()
    for _ in range(2):  # asking again is asking once
        assert (await fleet.ask(rollout, Ask.PAUSE)).state is RolloutState.PAUSED
    await fleet.work()
    assert fleet.revisions() == dict.fromkeys(NAMES, BEFORE)
    await fleet.ask(rollout, Ask.RESUME)
    await fleet.work()
    assert (await fleet.view(rollout)).state is RolloutState.SUCCEEDED


async def test_a_cancelled_rollout_leaves_what_it_has_not_reached(fleet):
    rollout = await fleet.begin(rings=CANARY, soak_s=3600)
    await fleet.work()
    await fleet.ask(rollout, Ask.CANCEL)
    await fleet.work()
    assert [name for name, at in fleet.revisions().items() if at == AFTER] == ["hooli"]
    with pytest.raises(InvalidState):
        await fleet.ask(rollout, Ask.RESUME)


async def test_workers_of_another_release_leave_it_alone(fleet):
    await fleet.begin()
    await fleet.work(fleet.roller(of=fleet.old))
    assert fleet.revisions() == dict.fromkeys(NAMES, BEFORE)


async def test_two_workers_share_the_work_and_do_each_target_once(fleet):
    before = dict(await fleet.sql("SELECT subdomain, version FROM public.tenants"))
    rollout = await fleet.begin(max_parallel=3)
    await asyncio.gather(fleet.work(), fleet.work())
    await fleet.work()
    assert await fleet.states(rollout) == ALL_DONE
    after = dict(await fleet.sql("SELECT subdomain, version FROM public.tenants"))
    assert after == {name: version + 1 for name, version in before.items()}


async def test_no_more_are_under_way_at_once_than_may_be(fleet):
    under_way, most = set(), 0

    async def count(place):
        nonlocal most
        if place == "upgraded":
            under_way.add(asyncio.current_task())
            most = max(most, len(under_way))
            await asyncio.sleep(0)
        if place == "before-commit":
            under_way.discard(asyncio.current_task())

    rollout = await fleet.begin(max_parallel=1)
    rollers = [fleet.roller(failpoint=count) for _ in range(3)]
    await asyncio.gather(*map(fleet.work, rollers))
    await fleet.work()
    assert (most, await fleet.states(rollout)) == (1, ALL_DONE)


async def _operation(fleet, name, state="running"):
    await fleet.sql(
        "INSERT INTO public.operations (id, tenant_id, kind, plan, plan_version, state, deadline_at)"
        " VALUES (gen_random_uuid(), :tenant, 'suspend', '{}', 1, :state, now())",
        tenant=fleet.tenants[name],
        state=state,
    )


async def test_a_tenant_with_an_operation_is_waited_for(fleet):
    rollout = await fleet.begin()
    await _operation(fleet, "acme")
    await fleet.roller().turn(asyncio.Event())
    assert await fleet.states(rollout) == {**ALL_DONE, "acme": "pending"}
    error, attempt = await fleet.error(rollout, "acme")
    assert (error["code"], attempt) == ("operation_in_progress", 0)
    await fleet.sql("UPDATE public.operations SET state = 'succeeded', finished_at = now()")
    await fleet.work()
    assert (await fleet.view(rollout)).state is RolloutState.SUCCEEDED


async def test_a_parked_operation_is_a_failure_for_it_does_not_end_by_itself(fleet):
    await _operation(fleet, "acme", "parked")
    rollout = await fleet.begin(budget=Budget(count=1))
    await fleet.work()
    assert (await fleet.error(rollout, "acme"))[0]["code"] == "operation_parked"
    assert fleet.revision("acme") == BEFORE


async def test_an_operation_that_begins_meanwhile_waits_for_the_upgrade(fleet):
    waited: list[str] = []

    async def interfere(place):
        if place == "held" and not waited:
            waited.append(place)
            with suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    # As every request for an operation does first.
                    await fleet.sql(
                        "SELECT FROM public.tenants WHERE revision = :at FOR NO KEY UPDATE",
                        at=BEFORE,
                    )
                    waited.append("had it")

    await fleet.begin()
    await fleet.roller(failpoint=interfere, lanes=1).turn(asyncio.Event())
    assert waited == ["held"]


async def test_a_tenant_deleted_for_good_meanwhile_is_skipped_and_said_so(fleet):
    rollout = await fleet.begin(rings=CANARY, soak_s=3600)
    await fleet.work()
    await fleet.sql("UPDATE public.tenants SET state = 'deleting' WHERE subdomain = 'wayne'")
    await fleet.sql("UPDATE public.tenants SET state = 'deleted' WHERE subdomain = 'wayne'")
    await fleet.sql("UPDATE public.tenants SET state = 'purging' WHERE subdomain = 'wayne'")
    await fleet.sql("UPDATE public.rollouts SET run_at = now()")
    await fleet.work()
    assert await fleet.states(rollout) == {**ALL_DONE, "wayne": "skipped"}
    assert (await fleet.error(rollout, "wayne"))[0]["detail"] == "The tenant is being purged."
    assert fleet.revision("wayne") == BEFORE


async def test_whoever_is_made_meanwhile_at_the_older_revision_is_upgraded_too(fleet):
    await fleet.sql("UPDATE public.tenants SET revision = NULL WHERE subdomain = 'wayne'")
    rollout = await fleet.begin(rings=CANARY, soak_s=3600)
    await fleet.work()
    await fleet.sql("UPDATE public.tenants SET revision = :at WHERE subdomain = 'wayne'", at=BEFORE)
    await fleet.sql("UPDATE public.rollouts SET run_at = now()")
    await fleet.work()
    assert await fleet.states(rollout) == ALL_DONE
    assert fleet.revision("wayne") == AFTER


_VERSIONS = "INSERT INTO {}.alembic_version VALUES ('core_0003'), ('own_0001')"


@pytest.mark.parametrize(
    ("harm", "heal"),
    [
        ("ALTER SCHEMA {} RENAME TO elsewhere", "ALTER SCHEMA elsewhere RENAME TO {}"),
        ("COMMENT ON SCHEMA {} IS 'mine'", "COMMENT ON SCHEMA {} IS '{mark}'"),
        ("DELETE FROM {}.alembic_version", _VERSIONS),
    ],
)
async def test_a_schema_that_is_missing_or_not_ours_is_left_as_it_is(fleet, harm, heal):
    schema = f"tenant_{fleet.tenants['acme'].hex}"
    rollout = await fleet.begin(budget=Budget(count=1))
    with fleet.place.superuser() as conn:
        mark = conn.execute("SELECT obj_description(%s::regnamespace)", [schema]).fetchone()[0]
        conn.execute(harm.format(schema))
    await fleet.work()
    assert (await fleet.error(rollout, "acme"))[0]["code"] == "schema_missing"
    with fleet.place.superuser() as conn:
        conn.execute(heal.format(schema, mark=mark))
    assert fleet.revision("acme") == BEFORE


async def test_a_schema_ahead_of_the_catalog_is_entered_and_not_upgraded_twice(fleet):
    await fleet.begin()
    await fleet.work()
    await fleet.sql("UPDATE public.tenants SET revision = :at WHERE subdomain = 'acme'", at=BEFORE)
    rollout = await fleet.begin()
    assert await fleet.states(rollout) == {"acme": "pending"}
    await fleet.work()
    assert fleet.revision("acme") == AFTER
