"""While a change spreads, the tenant shows it and nobody holds a worker."""

import asyncio
from dataclasses import replace

import pytest

from controlplane.domain.dns import Propagation
from controlplane.errors import ProviderBusy
from controlplane.provisioning.steps.dns import propagation_wait_s
from tests.engine.faults import Wrapped
from tests.engine.test_lease import until

pytestmark = pytest.mark.anyio


async def dns_ready(lab, operation):
    (row,) = await lab.sql(
        "SELECT conditions->'DnsReady' AS told FROM public.tenants WHERE id = :id",
        id=operation.tenant_id,
    )
    return row.told


async def test_the_tenant_shows_that_its_record_is_spreading_and_since_when(lab):
    lab.dns.pending = 2
    operation = await lab.create("acme")
    shown = []
    for _ in range(2):
        await lab.drive_once()
        shown.append(await dns_ready(lab, operation))
        await lab.expire()
    assert [(told["holds"], told["reason"]) for told in shown] == [(False, "pending")] * 2
    assert shown[0]["since"] == shown[1]["since"]
    assert (await lab.settle(operation)).state == "succeeded"
    told = await dns_ready(lab, operation)
    assert (told["holds"], told["reason"]) == (True, None)


class Forgetful(Wrapped):
    """A zone that loses the first change."""

    lost = 0

    async def propagation(self, reference):
        if self.lost == 0:
            self.lost = 1
            self.step.records.clear()
            return Propagation.FAILED
        return await self.step.propagation(reference)


async def test_a_change_that_was_lost_shows_and_is_made_again(empty_lab):
    lab = empty_lab
    zone = lab.dns
    lab.steps["dns"] = replace(lab.steps["dns"], provider=Forgetful(zone))
    operation = await lab.create("acme")
    await lab.drive_once()
    told = await dns_ready(lab, operation)
    assert (told["holds"], told["reason"], zone.records) == (False, "failed", {})
    assert (await lab.settle(operation)).state == "succeeded"
    assert list(zone.records) == ["acme"]


class Crowded(Wrapped):
    """A zone that everybody has to queue for, once with each request."""

    busy: tuple[str, ...] = ()
    wait_s: float = 60

    async def ensure(self, record, mark):
        self._turn("ensure")
        return await self.step.ensure(record, mark)

    async def propagation(self, reference):
        self._turn("propagation")
        return await self.step.propagation(reference)

    async def absent(self, record, mark):
        self._turn("absent")
        await self.step.absent(record, mark)

    def _turn(self, request):
        if request not in self.busy:
            self.busy = (*self.busy, request)
            raise ProviderBusy("not yet", wait_s=self.wait_s)


async def due_s(lab, operation):
    """Seconds from now, and those that the dns step has left."""
    (row,) = await lab.sql(
        "SELECT extract(epoch FROM o.run_at - clock_timestamp()) AS due, s.output"
        " FROM public.operations o JOIN public.operation_steps s ON s.operation_id = o.id"
        " WHERE o.id = :id AND s.name = 'dns'",
        id=operation.id,
    )
    return row


async def test_who_queues_comes_exactly_at_his_turn_and_the_time_is_not_his_steps(empty_lab):
    lab = empty_lab
    lab.dns.pending = 1
    lab.steps["dns"] = replace(lab.steps["dns"], provider=Crowded(lab.dns))
    operation = await lab.create("acme")
    engine = lab.engine()
    for queued_s in (60, 120):
        await lab.drive_once(engine=engine)
        row = await due_s(lab, operation)
        assert 0 < row.due <= 60, "no quarter more"
        assert row.output["queued_s"] == queued_s
        await lab.expire()
        # As if it had gone to the last second of its 180.
        await outlast(lab, operation, f"{120 + queued_s} seconds")
    await lab.drive_once()
    assert (await due_s(lab, operation)).output["queued_s"] == 120, "kept while it spreads"
    assert (await lab.settle(operation)).state == "succeeded"


async def test_a_step_that_has_used_up_its_own_time_is_given_up_however_long_it_queued(empty_lab):
    lab = empty_lab
    lab.steps["dns"] = replace(lab.steps["dns"], provider=Crowded(lab.dns))
    operation = await lab.create("acme")
    await lab.drive_once()
    await outlast(lab, operation, "241 seconds")
    ended = await lab.settle(operation)
    assert (ended.state, ended.error["step"]) == ("failed", "dns")


async def test_waiting_in_a_queue_does_not_outlast_the_operation(empty_lab):
    lab = empty_lab
    lab.steps["dns"] = replace(lab.steps["dns"], provider=Crowded(lab.dns))
    operation = await lab.create("acme")
    await lab.drive_once()
    await lab.sql(
        "UPDATE public.operations SET deadline_at = clock_timestamp() WHERE id = :id",
        id=operation.id,
    )
    assert (await lab.settle(operation)).error["code"] == "deadline_exceeded"
    assert lab.dns.records == {}


async def outlast(lab, operation, began):
    """As if the dns step had been begun so long ago."""
    await lab.sql(
        "UPDATE public.operation_steps SET started_at = clock_timestamp() - CAST(:ago AS interval)"
        " WHERE operation_id = :id AND name = 'dns'",
        ago=began,
        id=operation.id,
    )


async def test_a_worker_wakes_for_the_turn_of_whoever_queues(empty_lab):
    lab = empty_lab
    crowded = Crowded(lab.dns)
    crowded.wait_s = 0.01
    lab.steps["dns"] = replace(lab.steps["dns"], provider=crowded)
    operation = await lab.create("acme")
    engine = lab.engine()
    engine.crew = replace(engine.crew, timing=replace(engine.crew.timing, poll_s=3600))
    stopping = asyncio.Event()
    running = asyncio.create_task(engine.run(stopping))
    try:
        await until(lab, "state = 'succeeded'", operation.id)
    finally:
        stopping.set()
        await running


async def test_who_queues_for_a_provider_waits_and_has_not_failed(empty_lab):
    lab = empty_lab
    lab.steps["dns"] = replace(lab.steps["dns"], provider=Crowded(lab.dns))
    operation = await lab.create("acme")
    for _ in range(2):
        await lab.drive_once()
        told = await dns_ready(lab, operation)
        assert (told["holds"], told["reason"]) == (False, "queued")
        await lab.expire()
    assert (await lab.settle(operation)).state == "succeeded"
    assert [method for method, _ in lab.dns.calls].count("ensure") == 1
    assert (await lab.settle(await lab.delete(operation.tenant_id))).state == "succeeded"
    assert lab.dns.records == {}
    failed = await lab.sql("SELECT 1 FROM public.operation_events WHERE type = 'step_failed'")
    assert failed == []


def test_the_questions_about_a_change_become_rarer_and_do_not_end():
    assert [propagation_wait_s(asked) for asked in (0, 1, 2, 3, 4, 10_000)] == [1, 2, 4, 8, 8, 8]
