"""The switches of the in-memory zone that tests of steps rely on."""

from uuid import UUID

import pytest

from controlplane.domain.dns import Record, RecordType
from controlplane.domain.naming import Mark, Subdomain
from controlplane.errors import ProviderUnavailable
from controlplane_dns.memory import Fault, MemoryDns

pytestmark = pytest.mark.anyio

ACME = Mark(UUID(int=0xA), UUID(int=1), UUID(int=101))
RECORD = Record(Subdomain("acme"), RecordType.A, "192.0.2.10")
GONE = ProviderUnavailable("gone")


@pytest.mark.parametrize("after_effect", [False, True])
async def test_a_fault_strikes_before_or_after_the_effect(*, after_effect: bool) -> None:
    dns = MemoryDns()
    dns.faults.append(Fault("ensure", GONE, after_effect=after_effect))
    with pytest.raises(ProviderUnavailable):
        await dns.ensure(RECORD, ACME)
    assert (Subdomain("acme") in dns.records) is after_effect
    await dns.ensure(RECORD, ACME)
    dns.faults.append(Fault("absent", GONE, after_effect=after_effect))
    with pytest.raises(ProviderUnavailable):
        await dns.absent(RECORD, ACME)
    assert (Subdomain("acme") in dns.records) is not after_effect


async def test_a_fault_strikes_its_method_as_often_as_it_says() -> None:
    dns = MemoryDns()
    dns.faults.append(Fault("ensure", GONE, times=2))
    assert not await dns.find(RECORD, ACME)
    for _ in range(2):
        with pytest.raises(ProviderUnavailable):
            await dns.ensure(RECORD, ACME)
    await dns.ensure(RECORD, ACME)
    assert dns.faults == []
    assert dns.calls == [("find", "acme"), *[("ensure", "acme")] * 3]


async def test_a_change_is_pending_as_often_as_it_was_told() -> None:
    dns = MemoryDns(pending=2)
    reference = await dns.ensure(RECORD, ACME)
    await dns.ensure(RECORD, ACME)
    states = [await dns.propagation(reference) for _ in range(4)]
    assert states == ["pending", "pending", "insync", "insync"]
