"""Each write of the journal alone: what is in the rows after it, and in those of others."""

from dataclasses import replace

import pytest
from psycopg import AsyncConnection as Session

from controlplane.domain.operations import OperationState, StepState
from controlplane.errors import LeaseLost
from controlplane.provisioning import journal
from tests.engine.journal.rows import loaded_dice, opened, rows, sql

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]

SECOND, PIVOT = 1, 2


@pytest.mark.usefixtures("bystander")
async def test_a_record_is_the_step_its_event_and_a_hint_in_one(owner, held):
    after = held.with_step(SECOND, state=StepState.STARTED, attempt=3, output={"n": 1})
    before = await rows(owner, held.id)
    told = {"code": "dns", "detail": "away"}
    listening = await Session.connect(
        owner.url.set(drivername="postgresql").render_as_string(hide_password=False),
        autocommit=True,
    )
    async with listening:
        await listening.execute("LISTEN controlplane_events")
        async with owner.begin() as conn:
            begun = await opened(conn, owner)
            await journal.record(conn, after, SECOND, event="step_failed", error=told)
        heard = [n.payload async for n in listening.notifies(timeout=30, stop_after=1)]

    now = await rows(owner, held.id)
    assert heard == [str(held.id)]
    step = now.steps[SECOND]
    assert [s for s in now.steps if s != step] == [before.steps[0], before.steps[PIVOT]]
    assert (step["state"], step["attempt"], step["undo_attempt"]) == ("started", 3, 0)
    assert (step["epoch"], step["output"], step["last_error"]) == (held.epoch, {"n": 1}, told)
    assert step["started_at"] >= begun
    assert step["finished_at"] is None
    (event,) = now.events
    assert (event["seq"], event["epoch"], event["step"]) == (1, held.epoch, "second")
    assert event["type"] == "step_failed"
    assert event["data"] == {"state": "started", "attempt": 3, "error": told}
    assert now.operation == before.operation | {"event_seq": 1}


async def _walk(owner, operation, *states):
    """Records the second step in these states, one transaction each."""
    for n, state in enumerate(states):
        operation = operation.with_step(SECOND, state=state, undo_attempt=n)
        async with owner.begin() as conn:
            await journal.record(conn, operation, SECOND, event=state)


async def test_a_step_keeps_its_start_and_output_and_has_an_end_only_where_it_is_over(owner, held):
    ends, starts = [], []
    first = held.with_step(SECOND, output={"n": 1})
    for state in (StepState.STARTED, StepState.DONE, StepState.UNDO_STARTED, StepState.UNDONE):
        async with owner.begin() as conn:
            begun = await opened(conn, owner)
            await journal.record(conn, first.with_step(SECOND, state=state), SECOND, event="walked")
        first = first.with_step(SECOND, output=None)
        step = (await rows(owner, held.id)).steps[SECOND]
        starts.append(step["started_at"])
        ends.append(step["finished_at"] is not None and step["finished_at"] >= begun)
        assert step["output"] == {"n": 1}
        assert step["last_error"] is None
    assert ends == [False, True, False, True]
    assert len(set(starts)) == 1


async def test_only_what_is_over_counts_as_progress(owner, held):
    progress = []
    for state in (StepState.STARTED, StepState.DONE, StepState.UNDO_STARTED, StepState.UNDONE):
        await sql(owner, "UPDATE public.operations SET attempt = 5 WHERE id = :id", id=held.id)
        await _walk(owner, held, state)
        progress.append((await rows(owner, held.id)).operation["attempt"])
    assert progress == [5, 0, 5, 0]


async def test_events_are_numbered_in_order_and_tell_of_tries_to_undo(owner, held):
    await _walk(owner, held, StepState.STARTED, StepState.DONE, StepState.UNDO_STARTED)
    now = await rows(owner, held.id)
    assert [e["seq"] for e in now.events] == [1, 2, 3]
    assert now.operation["event_seq"] == 3
    assert [e["data"] for e in now.events] == [
        {"state": "started", "attempt": 0},
        {"state": "done", "attempt": 0, "undo_attempt": 1},
        {"state": "undo_started", "attempt": 0, "undo_attempt": 2},
    ]
    assert now.steps[SECOND]["undo_attempt"] == 2


@pytest.mark.usefixtures("bystander")
async def test_a_turn_writes_state_and_error_and_keeps_the_lease(owner, held):
    before = await rows(owner, held.id)
    error = {"code": "dns_conflict"}
    async with owner.begin() as conn:
        turned = replace(held, state=OperationState.UNWINDING, error=error)
        await journal.turn(conn, turned)
    now = await rows(owner, held.id)
    changed = {"state": "unwinding", "error": error, "event_seq": 1, "attempt": 0}
    assert now.operation == before.operation | changed
    assert now.steps == before.steps
    (event,) = now.events
    assert (event["step"], event["type"], event["data"]) == (None, "unwinding", {"error": error})


async def test_an_end_gives_the_lease_back_and_keeps_an_error_that_was_told(owner, held):
    await sql(
        owner, """UPDATE public.operations SET error = '{"a": 1}' WHERE id = :id""", id=held.id
    )
    async with owner.begin() as conn:
        begun = await opened(conn, owner)
        ended = replace(held, state=OperationState.SUCCEEDED)
        await journal.turn(conn, ended, finished=True)
    now = await rows(owner, held.id)
    assert now.shows(state="succeeded", error={"a": 1}, lease_owner=None, lease_expires_at=None)
    assert now.operation["finished_at"] >= begun
    assert now.events[0]["data"] == {}


async def test_leaving_gives_the_lease_back_without_an_end(owner, held):
    async with owner.begin() as conn:
        await journal.turn(conn, replace(held, state=OperationState.PARKED), leave=True)
    now = await rows(owner, held.id)
    assert now.shows(state="parked", lease_owner=None, lease_expires_at=None, finished_at=None)


async def _released(owner, operation, *, after_s):
    """Seconds until it is due again, per what the dice said."""
    async with owner.begin() as conn:
        drawn = await loaded_dice(conn)
        before = await opened(conn, owner)
        await journal.release(conn, operation, after_s=after_s)
    now = await rows(owner, operation.id)
    assert now.shows(lease_owner=None, lease_expires_at=None, attempt=0, epoch=operation.epoch)
    wait = (now.operation["run_at"] - before).total_seconds()
    assert wait >= 0
    return wait, 1 + drawn / 4


@pytest.mark.usefixtures("bystander")
async def test_a_released_operation_is_due_after_its_wait_and_up_to_a_quarter_more(owner, held):
    wait, factor = await _released(owner, held, after_s=10_000)
    # The statement runs a moment after the clock was read: less than one seed's worth.
    assert 0 <= wait - 10_000 * factor < 60


_DEADLINE = (
    "UPDATE public.operations SET deadline_at = clock_timestamp() + interval '{}' WHERE id = :id"
)


@pytest.mark.parametrize("deadline", ["1000 seconds", "-1000 seconds"])
async def test_a_wait_ends_at_the_deadline_while_there_is_a_way_back(owner, held, deadline):
    await sql(owner, _DEADLINE.format(deadline), id=held.id)
    wait, _ = await _released(owner, held, after_s=10_000)
    assert wait <= (1000 if deadline[0] == "1" else 60)


@pytest.mark.parametrize("turned", [False, True])
async def test_without_a_way_back_a_wait_knows_no_deadline(owner, held, turned):
    await sql(owner, _DEADLINE.format("1000 seconds"), id=held.id)
    unwinding = replace(held, state=OperationState.UNWINDING)
    past = held.with_step(PIVOT, state=StepState.DONE)
    wait, factor = await _released(owner, unwinding if turned else past, after_s=10_000)
    assert 0 <= wait - 10_000 * factor < 60


@pytest.mark.usefixtures("bystander")
async def test_letting_go_leaves_the_back_off_as_the_claim_has_paid_it(owner, held):
    before = await rows(owner, held.id)
    async with owner.begin() as conn:
        await journal.let_go(conn, held)
    now = await rows(owner, held.id)
    assert now.operation == before.operation | {"lease_owner": None, "lease_expires_at": None}


@pytest.mark.usefixtures("bystander")
async def test_an_older_epoch_writes_nothing(owner, held):
    old, before = replace(held, epoch=held.epoch - 1), await rows(owner, held.id)
    done = old.with_step(0, state=StepState.DONE)
    told = f"{held.id} was taken over after epoch {old.epoch}"
    with pytest.raises(LeaseLost, match=told):
        async with owner.begin() as conn:
            await journal.record(conn, done, 0, event="step_done")
    with pytest.raises(LeaseLost, match=told):
        async with owner.begin() as conn:
            await journal.turn(conn, old)
    async with owner.begin() as conn:
        await journal.release(conn, old, after_s=0)
        await journal.let_go(conn, old)
    assert await rows(owner, held.id) == before


async def test_the_inventory_holds_a_thing_once_and_strikes_out_that_thing_alone(
    owner, held, bystander
):
    things = [("dns", "acme"), ("dns", "acme-old"), ("schema", "acme")]
    async with owner.begin() as conn:
        for operation in (held, bystander):
            for thing in [*things, things[0]]:
                await journal.hold(conn, operation, *thing)
        await journal.unhold(conn, held.tenant_id, "dns", "acme")
        found = await sql(conn, "SELECT * FROM public.tenant_resources")
    assert {(r["tenant_id"], r["operation_id"], r["kind"], r["external_id"]) for r in found} == {
        *((bystander.tenant_id, bystander.id, *thing) for thing in things),
        *((held.tenant_id, held.id, *thing) for thing in things[1:]),
    }
