"""Claim, lease, epoch and fence: exactly one worker drives an operation, and an old one is harmless."""

import asyncio
import threading
from dataclasses import replace
from functools import partial
from time import monotonic
from uuid import UUID

import pytest
from sqlalchemy import text

from controlplane.domain.operations import StepState
from controlplane.errors import LeaseLost
from controlplane.provisioning import journal
from controlplane.provisioning.drive import Drive
from controlplane.provisioning.leases import Heartbeat, Timing
from controlplane.provisioning.plans import PROVISION
from tests.engine.lab import Lab
from tests.engine.world import assert_world

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]

# A lease that no busy machine outlasts: what is to be seen here is seen at a beat.
QUICK = Timing(lease_s=30.0, beat_s=0.05, call_s=5.0, margin_s=0.1, poll_s=0.05)


async def claim(lab, *, plans=("provision/1", "deprovision/1"), owner="w", limit=1):
    async with lab.parts.owner.begin() as conn:
        return await journal.claim(conn, owner=owner, ttl_s=30, plans=list(plans), limit=limit)


async def test_a_claimed_operation_is_nobody_elses(lab):
    await lab.create("acme")

    assert len(await claim(lab)) == 1
    await lab.sql(
        "UPDATE public.operations SET run_at = clock_timestamp() WHERE finished_at IS NULL"
    )
    assert await claim(lab) == []


async def test_twenty_claims_at_once_share_the_operations_without_overlap(lab):
    for n in range(8):
        await lab.create(f"acme{n}")

    claimed = await asyncio.gather(*(claim(lab) for _ in range(20)))

    ids = [operation.id for found in claimed for operation in found]
    assert len(ids) == len(set(ids)) == 8
    await lab.expire()
    for operation_id in ids:
        await lab.settle(await lab.view(operation_id))


async def test_a_plan_that_the_worker_does_not_know_is_left_alone(lab):
    operation = await lab.create("acme")
    await lab.sql("UPDATE public.operations SET plan_version = 2 WHERE id = :id", id=operation.id)

    assert not await lab.drive_once()
    assert (await lab.view(operation.id)).state == "pending"

    engine = lab.engine()
    engine.plans = (replace(PROVISION, version=2),)
    assert await lab.drive_once(engine=engine)
    assert (await lab.view(operation.id)).state == "succeeded"


async def test_the_plan_of_the_row_is_followed_not_the_one_of_the_release(lab):
    operation = await lab.create("acme")
    await lab.sql(
        "UPDATE public.operations SET plan = jsonb_set(plan, '{steps}', (plan->'steps') - 3)"
        " WHERE id = :id",
        id=operation.id,
    )
    await lab.sql(
        "DELETE FROM public.operation_steps WHERE operation_id = :id AND name = 'verify'",
        id=operation.id,
    )
    await lab.sql(
        "UPDATE public.operation_steps SET ordinal = 3 WHERE operation_id = :id AND ordinal = 4",
        id=operation.id,
    )

    ended = await lab.settle(operation)

    assert ended.state == "succeeded"
    assert [step.name for step in ended.steps] == ["schema", "admin", "dns", "activate"]


async def test_a_worker_that_was_overtaken_writes_nothing_more(lab):
    operation = await lab.create("acme")
    (old,) = await claim(lab, owner="old")
    await lab.expire()
    (new,) = await claim(lab, owner="new")
    assert new.epoch == old.epoch + 1

    for write in (
        partial(journal.fence, exclusive=False),
        partial(journal.fence, exclusive=True),
        partial(journal.record, ordinal=0, event="step_done"),
        journal.turn,
    ):
        with pytest.raises(LeaseLost):
            async with lab.parts.owner.begin() as conn:
                await write(conn, old.with_step(0, state=StepState.DONE))
    async with lab.parts.owner.begin() as conn:
        await journal.release(conn, old, after_s=0)
        await journal.let_go(conn, old)
    (row,) = await lab.sql(
        "SELECT lease_owner, event_seq FROM public.operations WHERE finished_at IS NULL"
    )
    assert tuple(row) == ("new", 1)
    await lab.expire()
    await lab.settle(operation)


async def test_a_frozen_worker_that_wakes_up_stops_at_its_next_fence(lab):
    """It was frozen after the intent to write DNS, and another one has finished meanwhile."""
    operation = await lab.create("acme")
    engine = lab.engine()
    (claimed,) = await engine.claim()
    lease = engine.heartbeat.add(claimed, lambda: None, claimed=monotonic())
    frozen = asyncio.Event()

    async def stand_in(place):
        if place == "step:dns:after-call" and not frozen.is_set():
            frozen.set()
            await lab.expire()
            await lab.settle(operation)

    drive = Drive(replace(engine.crew, failpoint=stand_in), claimed, lease)
    with pytest.raises(LeaseLost):
        await drive.run()

    assert frozen.is_set()
    assert (await lab.view(operation.id)).state == "succeeded"
    await assert_world(lab)


async def test_while_a_local_step_is_open_nobody_can_take_the_operation_over(lab):
    await lab.create("acme")
    (held,) = await claim(lab)
    async with lab.parts.owner.begin() as conn:
        await journal.fence(conn, held, exclusive=False)
        await lab.expire()
        assert await claim(lab) == []
    assert len(await claim(lab)) == 1
    await lab.expire()


async def test_the_heartbeat_passes_an_open_step_and_renews_its_lease(lab):
    operation = await lab.create("acme")
    (held,) = await claim(lab)
    await lab.sql(
        "UPDATE public.operations SET lease_expires_at = clock_timestamp() WHERE finished_at IS NULL"
    )
    heartbeat = Heartbeat(lab.database.owner_url, QUICK)
    heartbeat.add(held, lambda: None, claimed=monotonic())
    async with lab.parts.owner.begin() as conn:
        await journal.fence(conn, held, exclusive=False)
        heartbeat.start()
        try:
            await until(lab, "lease_expires_at > clock_timestamp()", held.id)
        finally:
            await asyncio.to_thread(heartbeat.stop)
    await lab.expire()
    await lab.settle(operation)


async def test_the_heartbeat_tells_a_worker_that_it_was_overtaken(lab):
    operation = await lab.create("acme")
    (old,) = await claim(lab)
    lost = threading.Event()
    heartbeat = Heartbeat(lab.database.owner_url, QUICK)
    heartbeat.add(old, lost.set, claimed=monotonic())
    await lab.expire()
    await claim(lab)
    heartbeat.start()
    try:
        assert await asyncio.to_thread(lost.wait, 60)
    finally:
        await asyncio.to_thread(heartbeat.stop)
    await lab.expire()
    await lab.settle(operation)


async def test_a_worker_that_cannot_renew_gives_up_before_its_lease_ends(lab):
    operation = await lab.create("acme")
    (held,) = await claim(lab)
    lost = threading.Event()
    heartbeat = Heartbeat("postgresql://127.0.0.1:1/nowhere", replace(QUICK, lease_s=1.0))
    lease = heartbeat.add(held, lost.set, claimed=monotonic())
    heartbeat.start()
    try:
        assert await asyncio.to_thread(lost.wait, 60)
    finally:
        await asyncio.to_thread(heartbeat.stop)
    with pytest.raises(LeaseLost):
        replace(lease, until=0.0).budget_s(QUICK)
    await lab.expire()
    await lab.settle(operation)


async def test_the_loop_drives_what_it_is_told_of_and_stops_when_asked(lab):
    engine, stopping = lab.engine(slots=2), asyncio.Event()
    running = asyncio.create_task(engine.run(stopping))
    created = [await lab.create(f"acme{n}") for n in range(3)]
    engine.wake.set()
    for operation in created:
        await until(lab, "finished_at IS NOT NULL", operation.id)
    stopping.set()
    await asyncio.wait_for(running, 60)

    assert {(await lab.view(o.id)).state for o in created} == {"succeeded"}


async def test_four_workers_share_twelve_operations_and_none_is_driven_twice(lab):
    created = [await lab.create(f"acme{n}") for n in range(12)]
    stopping = asyncio.Event()
    workers = [asyncio.create_task(lab.engine().run(stopping)) for _ in range(4)]
    for operation in created:
        await until(lab, "finished_at IS NOT NULL", operation.id)
    stopping.set()
    await asyncio.wait_for(asyncio.gather(*workers), 60)

    rows = await lab.sql("SELECT DISTINCT epoch FROM public.operations")
    assert [row.epoch for row in rows] == [1]


async def until(lab: Lab, condition: str, operation_id: UUID) -> None:
    """Wait for a condition of the operation's row."""
    query = text(f"SELECT {condition} FROM public.operations WHERE id = :id")  # noqa: S608  literal
    async with asyncio.timeout(60):
        while True:
            async with lab.parts.owner.connect() as conn:
                if (await conn.execute(query, {"id": operation_id})).scalar_one():
                    return
            await asyncio.sleep(0.02)
