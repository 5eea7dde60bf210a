"""While a change spreads, the tenant shows it and nobody holds a worker."""

from dataclasses import replace

import pytest

from controlplane.domain.dns import Propagation
from controlplane.errors import ProviderBusy
from controlplane.provisioning.steps.dns import propagation_wait_s
from tests.engine.faults import Wrapped

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
            raise ProviderBusy("not yet", wait_s=60)


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
