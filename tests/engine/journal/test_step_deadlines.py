"""The deadline of a step, as claim, fence and release know it: from its first record, where the plan
has one for it."""

from dataclasses import replace
from itertools import product

import pytest

from controlplane.domain.operations import OperationState, StepState
from controlplane.provisioning import journal
from controlplane.provisioning.journal import Notice
from tests.engine.journal.rows import HOUR_S, PLAN, claimed, enter, opened, rows, sql

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]

FIRST, SECOND, PIVOT = 0, 1, 2
TIMED = replace(
    PLAN, steps=(PLAN.steps[0], replace(PLAN.steps[1], deadline_s=HOUR_S), PLAN.steps[2])
)


async def begin_steps(owner, operation, started):
    """Every step has been begun then, or not at all."""
    await sql(
        owner,
        "UPDATE public.operation_steps SET started_at = clock_timestamp() - CAST(:ago AS interval)"
        " WHERE operation_id = :id",
        ago=started,
        id=operation,
    )


@pytest.mark.parametrize(
    ("started", "late"), [("2 hours", True), ("1 minute", False), (None, False)]
)
async def test_a_step_is_late_once_its_time_is_over_and_no_other_with_it(owner, started, late):
    operation = await enter(owner, plan=TIMED, state="'running'")
    other = await enter(owner, plan=TIMED, state="'running'")
    await begin_steps(owner, operation, started)
    await begin_steps(owner, other, None if late else "2 hours")

    (found,) = [o for o in await claimed(owner) if o.id == operation]

    assert [step.overdue for step in found.steps] == [False, late, False]
    async with owner.begin() as conn:
        notices = [
            await journal.fence(conn, found, exclusive=False, ordinal=ordinal)
            for ordinal in (FIRST, SECOND, PIVOT, None)
        ]
    assert [notice.late for notice in notices] == [False, late, False, False]


async def test_a_step_whose_time_ends_while_the_transaction_is_open_is_late(owner):
    operation = await enter(owner, plan=TIMED, state="'running'")
    async with owner.begin() as conn:
        await opened(conn, owner)
        await begin_steps(owner, operation, "1 hour")
        (found,) = await claimed(conn)
    assert found.steps[SECOND].overdue
    await begin_steps(owner, operation, None)
    async with owner.begin() as conn:
        await opened(conn, owner)
        await begin_steps(owner, operation, "1 hour")
        assert (await journal.fence(conn, found, exclusive=False, ordinal=SECOND)).late


async def _wait_s(owner, operation, *, ordinal):
    async with owner.begin() as conn:
        before = await opened(conn, owner)
        await journal.release(conn, operation, after_s=5 * HOUR_S, ordinal=ordinal)
    return ((await rows(owner, operation.id)).operation["run_at"] - before).total_seconds()


async def test_a_wait_ends_at_the_deadline_of_the_step_that_waits(owner):
    operation = await enter(owner, plan=TIMED, state="'running'")
    await begin_steps(owner, operation, "30 minutes")
    (found,) = await claimed(owner)
    await enter(owner, plan=TIMED)
    assert 0 <= await _wait_s(owner, found, ordinal=SECOND) <= HOUR_S / 2
    for ordinal in (FIRST, None):
        assert await _wait_s(owner, found, ordinal=ordinal) >= 5 * HOUR_S


async def test_without_a_way_back_a_wait_knows_no_deadline_of_a_step(owner):
    operation = await enter(owner, plan=TIMED, state="'running'")
    await begin_steps(owner, operation, "30 minutes")
    (found,) = await claimed(owner)
    for forward in (
        replace(found, state=OperationState.UNWINDING),
        found.with_step(PIVOT, state=StepState.DONE),
    ):
        assert await _wait_s(owner, forward, ordinal=SECOND) >= 5 * HOUR_S


async def test_a_notice_turns_for_each_of_its_reasons_and_is_taken_into_the_operation(held):
    for told in product((False, True), repeat=3):
        notice = Notice(*told)
        taken = notice.taken(held, SECOND)
        assert notice.turns is any(told)
        assert (taken.cancel_requested, taken.overdue, taken.steps[SECOND].overdue) == told
        assert not taken.steps[FIRST].overdue
