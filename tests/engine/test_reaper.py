"""What the sweep takes up again, what it has removed, and when; the orphan of a frozen worker."""

import asyncio
from dataclasses import replace
from time import monotonic
from uuid import uuid4

import pytest

from controlplane import worker
from controlplane.errors import LeaseLost, ProviderUnavailable
from controlplane.provisioning import requests
from controlplane.provisioning.drive import Drive
from controlplane.store import idempotency
from controlplane_dns.memory import Fault
from tests.engine.faults import Failure
from tests.engine.lab import ACTOR
from tests.engine.looking import age, listed, state_of
from tests.engine.names import outlast_holds
from tests.engine.plans_under_test import plant
from tests.engine.world import assert_world

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


async def test_the_sweep_repairs_what_it_sees_twice_in_a_row(lab):
    reaper = worker.open_reaper(lab.parts)
    assert await reaper.sweep() == 0
    acme = await lab.active("acme")
    await plant(lab, uuid4(), "schema", record="orphan")
    del lab.dns.records["acme"]

    assert await reaper.sweep() == 0
    assert await worker.open_reaper(lab.parts).sweep() == 0, "another has not seen it before"
    assert await reaper.sweep() == 2
    assert await reaper.sweep() == 0
    for row in await lab.sql("SELECT id FROM public.operations WHERE finished_at IS NULL"):
        assert (await lab.settle(await lab.view(row.id))).state == "succeeded"
    assert await reaper.sweep() == 0
    assert await listed(lab) == set()
    assert await state_of(lab, acme) == "active"


async def test_what_is_gone_for_one_sweep_must_be_seen_twice_again(lab):
    reaper = worker.open_reaper(lab.parts)
    await plant(lab, uuid4(), record="orphan")
    await reaper.sweep()
    orphan = lab.dns.records.pop("orphan")
    await reaper.sweep()
    lab.dns.records["orphan"] = orphan

    assert [await reaper.sweep(), await reaper.sweep()] == [0, 1]
    await lab.expire()
    await lab.drive_once()


async def test_one_sweep_begins_no_more_than_twenty_operations(lab):
    reaper = worker.open_reaper(lab.parts)
    for n in range(21):
        await plant(lab, uuid4(), record=f"orphan-{n}")
    await reaper.sweep()

    assert [await reaper.sweep(), await reaper.sweep()] == [20, 1]
    while await lab.drive_once():
        pass
    assert await listed(lab) == set()


async def test_a_sweep_writes_nothing_while_another_one_writes(lab):
    reaper = worker.open_reaper(lab.parts)
    await plant(lab, uuid4(), record="orphan")
    await reaper.sweep()
    async with lab.parts.owner.begin() as conn:
        await conn.exec_driver_sql(
            "SELECT pg_advisory_xact_lock(hashtextextended('controlplane/reaper', 0))"
        )
        assert await reaper.sweep() == 0
    assert await reaper.sweep() == 1
    await lab.drive_once()


async def test_a_zone_that_cannot_be_read_stops_no_other_work_of_the_sweep(lab):
    parked = await _parked(lab)
    lab.dns.faults.append(Fault(method="owned", error=ProviderUnavailable("no answer")))

    assert await worker.open_reaper(lab.parts).sweep() == 1

    assert (await lab.settle(parked)).state == "failed"


async def _parked(lab, subdomain="acme"):
    """An operation whose undo was given up for a reason that may pass."""
    healthy = dict(lab.steps)
    lab.steps = Failure("verify", "ensure").wrap(lab.steps)
    away = Fault(method="absent", error=ProviderUnavailable("no answer"), times=8)
    lab.dns.faults.append(away)
    parked = await lab.settle(await lab.create(subdomain))
    lab.steps = healthy
    assert parked.state == "parked"
    return parked


async def test_what_parks_again_and_again_is_resumed_after_a_growing_pause(lab):
    lab.steps = Failure("verify", "ensure").wrap(healthy := dict(lab.steps))
    away = Fault(method="absent", error=ProviderUnavailable("no answer"), times=1_000_000)
    lab.dns.faults.append(away)
    operation, reaper = await lab.create("acme"), worker.open_reaper(lab.parts)
    pauses = []
    for _ in range(9):
        assert (await lab.settle(operation)).state == "parked"
        pauses.append(await _shortest_pause(lab, operation, reaper))

    assert pauses == [0, 1, 2, 4, 8, 16, 32, 60, 60]
    lab.dns.faults.clear()
    lab.steps = healthy
    await lab.settle(operation)


async def _shortest_pause(lab, operation, reaper):
    """Minutes that must have gone by since the last try before the sweep takes it up."""
    for minutes in (0, 1, 2, 4, 8, 16, 32, 60):
        await age(lab, operation, f"{minutes * 60 - 5} seconds")
        early = await reaper.sweep()
        await age(lab, operation, f"{minutes} minutes")
        if early or await reaper.sweep():
            return minutes if not early else 0
    raise AssertionError("it is never taken up")


async def test_keys_whose_time_is_over_are_forgotten(lab):
    operation, principal = await lab.create("acme"), uuid4()
    async with lab.parts.owner.begin() as conn:
        for key in ("old", "new"):
            await idempotency.remember(
                conn, principal=principal, key=key, mark=b"x", operation_id=operation.id
            )
    await lab.sql(
        "UPDATE public.idempotency_keys SET expires_at = clock_timestamp() WHERE key = 'old'"
    )

    await worker.open_reaper(lab.parts).sweep()

    left = await lab.sql("SELECT key FROM public.idempotency_keys")
    assert [row.key for row in left] == ["new"]
    await lab.settle(operation)


# -- the documented orphan -----------------------------------------------------------------------


async def latecomer(lab):
    """Another tenant that asks for the name when nobody holds it any more."""
    await outlast_holds(lab)
    return await lab.settle(await lab.create("acme"))


async def test_the_orphan_of_a_frozen_worker_is_found_and_removed_and_its_name_works_again(lab):
    """It was frozen right before its call to DNS; another one rolled the operation back meanwhile."""
    operation = await lab.create("acme")
    engine = lab.engine()
    (claimed,) = await engine.claim()
    lease = engine.heartbeat.add(claimed, lambda: None, claimed=monotonic())
    thawed = asyncio.Event()

    async def stand_in(place):
        if place == "step:dns:before-call" and not thawed.is_set():
            thawed.set()
            async with lab.parts.control.begin() as conn:
                await requests.cancel(conn, operation.id, actor=ACTOR)
            await lab.settle(operation)

    drive = Drive(replace(engine.crew, failpoint=stand_in), claimed, lease)
    with pytest.raises(LeaseLost):
        await drive.run()

    assert thawed.is_set()
    assert (await lab.view(operation.id)).state == "cancelled"
    assert lab.dns.records["acme"].mark.operation == operation.id, "no orphan: this proves nothing"
    assert await listed(lab) == {("record_without_tenant", "acme")}
    refused = await latecomer(lab)
    assert (refused.state, refused.error["code"]) == ("failed", "dns_conflict")
    assert lab.dns.records["acme"].mark.operation == operation.id

    reaper = worker.open_reaper(lab.parts)
    assert [await reaper.sweep(), await reaper.sweep()] == [0, 1]
    await lab.drive_once()

    assert "acme" not in lab.dns.records
    assert await listed(lab) == set()
    await assert_world(lab)
    made = await latecomer(lab)
    assert lab.dns.records["acme"].mark.tenant == made.tenant_id
