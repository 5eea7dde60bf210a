"""A claim: what it takes, in which order, what it tells the worker, and what it leaves alone."""

from dataclasses import replace
from typing import Any

import pytest

from controlplane.domain.operations import Operation, OperationState, StepRecord, StepState
from tests.engine.journal.rows import HOUR_S, PLAN, claimed, enter, loaded_dice, opened, rows, sql

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


async def test_a_claim_tells_all_that_the_worker_needs(owner):
    operation = await enter(owner, error="""'{"code": "x"}'""", epoch="6", state="'unwinding'")
    await enter(owner)
    await sql(
        owner,
        "UPDATE public.operation_steps SET state = 'started', attempt = 2, undo_attempt = 1,"
        """ output = '{"n": 1}' WHERE name = 'second' AND operation_id = :id""",
        id=operation,
    )

    (found,) = [o for o in await claimed(owner) if o.id == operation]

    (row,) = await sql(owner, "SELECT * FROM public.operations WHERE id = :id", id=operation)
    assert found == Operation(
        id=operation,
        tenant_id=row["tenant_id"],
        plan=PLAN,
        params={"from_state": "active"},
        state=OperationState.UNWINDING,
        steps=(
            StepRecord("first"),
            StepRecord("second", StepState.STARTED, 2, 1, {"n": 1}),
            StepRecord("pivot"),
        ),
        epoch=7,
        error={"code": "x"},
    )


@pytest.mark.parametrize(
    ("flag", "columns"),
    [
        ("cancel_requested", {"cancel_requested_at": "clock_timestamp()"}),
        ("overdue", {"deadline_at": "clock_timestamp()"}),
    ],
)
async def test_a_claim_tells_of_a_cancel_and_of_the_deadline(owner, flag, columns):
    await enter(owner, state="'running'", **columns)
    (found,) = await claimed(owner)
    flags = {"cancel_requested": found.cancel_requested, "overdue": found.overdue}
    assert flags == {"cancel_requested": False, "overdue": False} | {flag: True}


@pytest.mark.parametrize("state", ["pending", "running", "unwinding"])
async def test_a_claim_takes_the_lease_and_the_next_epoch(owner, state):
    operation = await enter(owner, state=f"'{state}'", epoch="3", attempt="4")
    async with owner.begin() as conn:
        before = await opened(conn, owner)
        (found,) = await claimed(conn)
    row = (await rows(owner, operation)).operation

    assert found.state == row["state"] == ("running" if state == "pending" else state)
    assert (row["lease_owner"], row["epoch"], row["attempt"]) == ("me", 4, 5)
    assert found.epoch == 4
    lasts = (row["lease_expires_at"] - before).total_seconds()
    assert HOUR_S <= lasts < 2 * HOUR_S


@pytest.mark.parametrize("columns", [{"lease_expires_at": "clock_timestamp()"}, {}])
async def test_what_falls_due_while_the_transaction_is_open_is_due(owner, columns):
    async with owner.begin() as conn:
        await opened(conn, owner)
        operation = await enter(owner, run_at="clock_timestamp()", **columns)
        assert [o.id for o in await claimed(conn)] == [operation]


async def test_a_deadline_that_passes_while_the_transaction_is_open_has_passed(owner):
    async with owner.begin() as conn:
        await opened(conn, owner)
        await enter(owner, state="'running'", deadline_at="clock_timestamp()")
        (found,) = await claimed(conn)
    assert found.overdue


NOT_DUE: dict[str, dict[str, Any]] = {
    "not yet": {"run_at": "clock_timestamp() + interval '1 hour'"},
    "leased": {"state": "'running'", "lease_expires_at": "clock_timestamp() + interval '1 hour'"},
    "parked": {"state": "'parked'"},
    "over": {"state": "'succeeded'", "finished_at": "clock_timestamp()"},
    "another version": {"plan": replace(PLAN, version=2)},
    "another kind": {"plan": replace(PLAN, kind="other")},
}


@pytest.mark.parametrize("case", NOT_DUE)
async def test_a_claim_takes_only_what_is_due_and_known(owner, case):
    left = await enter(owner, **NOT_DUE[case])
    due = await enter(owner)
    before = await rows(owner, left)
    assert [o.id for o in await claimed(owner)] == [due]
    assert await rows(owner, left) == before


async def test_the_lease_that_has_run_out_is_anyones(owner):
    operation = await enter(
        owner, state="'running'", lease_expires_at="clock_timestamp() - interval '1 second'"
    )
    assert [o.id for o in await claimed(owner)] == [operation]


async def test_the_longest_due_come_first_and_no_more_than_asked_for(owner):
    due = [await enter(owner, run_at=f"now() - interval '{n} hours'") for n in (1, 3, 2)]
    assert [o.id for o in await claimed(owner, limit=1)] == [due[1]]
    assert {o.id for o in await claimed(owner, limit=2)} == {due[0], due[2]}


async def test_a_claim_passes_by_what_another_claims_at_the_moment(owner):
    first = await enter(owner, run_at="now() - interval '1 hour'")
    second = await enter(owner)
    async with owner.begin() as conn:
        assert [o.id for o in await claimed(conn, limit=1)] == [first]
        assert [o.id for o in await claimed(owner)] == [second]


@pytest.mark.parametrize(("attempt", "seconds"), [(0, 1), (3, 8), (9, 512), (10, 600), (99, 600)])
async def test_the_back_off_of_a_crash_loop_is_paid_by_the_claim(owner, attempt, seconds):
    operation = await enter(owner, attempt=str(attempt))
    async with owner.begin() as conn:
        drawn = await loaded_dice(conn)
        await claimed(conn)
    row = (await rows(owner, operation)).operation
    wait = (row["run_at"] - row["lease_expires_at"]).total_seconds() + HOUR_S
    assert wait == pytest.approx(seconds * drawn, abs=0.4)


async def test_the_deadline_runs_from_the_first_claim_and_no_later_one(owner):
    hours: dict[str, Any] = {
        "created_at": "now() - interval '5 hours'",
        "deadline_at": "now() - interval '3 hours'",
    }
    first = await enter(owner, **hours)
    later = await enter(owner, state="'running'", **hours)
    async with owner.begin() as conn:
        begun = await opened(conn, owner)
        found = await claimed(conn)
    fresh, old = [(await rows(owner, o)).operation for o in (first, later)]
    assert {o.id: o.overdue for o in found} == {first: False, later: True}
    assert 2 * HOUR_S <= (fresh["deadline_at"] - begun).total_seconds() < 3 * HOUR_S
    assert (old["deadline_at"] - old["created_at"]).total_seconds() == 2 * HOUR_S
