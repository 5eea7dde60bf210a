"""What every DNS provider promises (controlplane/ports.py)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from controlplane.domain.dns import OwnedRecord, Propagation, Record, RecordType
from controlplane.domain.naming import Mark, Subdomain
from controlplane.errors import DnsConflict, ProviderRefused, ProviderUnavailable
from controlplane.ports import DnsProvider
from tests.contract.dns_peers import OPEN, PEERS, Peer

pytestmark = pytest.mark.anyio

OURS, OTHERS = UUID(int=0xA), UUID(int=0xB)
ACME = Mark(OURS, UUID(int=1), UUID(int=101))
ACME_LATER = Mark(OURS, UUID(int=1), UUID(int=102))
GLOBEX = Mark(OURS, UUID(int=2), UUID(int=201))
# The same tenant id in another installation: only the whole mark may count.
ACME_ELSEWHERE = Mark(OTHERS, UUID(int=1), UUID(int=101))


def record(name: str = "acme", value: str = "192.0.2.10", ttl: int = 300) -> Record:
    return Record(Subdomain(name), RecordType.A, value, ttl)


@pytest.fixture(params=PEERS)
async def peer(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Peer]:
    async with OPEN[request.param](request, tmp_path) as opened:
        yield opened


@pytest.fixture
def dns(peer: Peer) -> DnsProvider:
    return peer.dns


async def owned(dns: DnsProvider, installation: UUID = OURS) -> list[OwnedRecord]:
    found = [one async for one in dns.owned(installation)]
    return sorted(found, key=lambda one: one.record.name)


async def test_an_ensured_record_is_found_and_listed_with_its_mark(dns: DnsProvider) -> None:
    await dns.ensure(record(), ACME)
    assert await dns.find(record(), ACME)
    assert await owned(dns) == [OwnedRecord(record(), ACME)]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (RecordType.A, "192.0.2.10"),
        (RecordType.AAAA, "2001:db8::10"),
        (RecordType.CNAME, "ingress.example.net."),
    ],
)
async def test_every_type_of_record_comes_back_as_it_went_in(
    dns: DnsProvider, kind: RecordType, value: str
) -> None:
    wanted = Record(Subdomain("acme"), kind, value, 60)
    await dns.ensure(wanted, ACME)
    assert await owned(dns) == [OwnedRecord(wanted, ACME)]


async def test_a_value_in_another_spelling_is_the_same_record(peer: Peer) -> None:
    target = Record(Subdomain("acme"), RecordType.CNAME, "Ingress.Example.NET")
    await peer.dns.ensure(target, ACME)
    before = peer.world()
    await peer.dns.ensure(Record(Subdomain("acme"), RecordType.CNAME, "ingress.example.net."), ACME)
    assert peer.world() == before
    assert await peer.dns.find(target, ACME)


async def test_ensuring_twice_changes_nothing(peer: Peer) -> None:
    await peer.dns.ensure(record(), ACME)
    before = peer.world()
    again = await peer.another().ensure(record(), ACME)
    assert peer.world() == before
    assert await peer.another().propagation(again) is Propagation.INSYNC


@pytest.mark.parametrize(
    "changed",
    [
        record(value="192.0.2.99"),
        record(ttl=60),
        Record(Subdomain("acme"), RecordType.CNAME, "ingress.example.net."),
    ],
)
async def test_a_changed_target_replaces_the_old_one(dns: DnsProvider, changed: Record) -> None:
    await dns.ensure(record(), ACME)
    await dns.ensure(changed, ACME)
    assert await owned(dns) == [OwnedRecord(changed, ACME)]
    assert not await dns.find(record(), ACME)


async def test_a_later_operation_of_the_same_tenant_takes_the_record_over(dns: DnsProvider) -> None:
    await dns.ensure(record(), ACME)
    await dns.ensure(record(), ACME_LATER)
    assert await owned(dns) == [OwnedRecord(record(), ACME_LATER)]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (RecordType.A, "192.0.2.10"),
        (RecordType.AAAA, "2001:db8::10"),
        (RecordType.CNAME, "elsewhere.example.net."),
    ],
)
async def test_a_foreign_record_is_a_conflict_and_stays_as_it_was(
    peer: Peer, kind: RecordType, value: str
) -> None:
    peer.place_foreign("acme", kind, value)
    before = peer.world()
    with pytest.raises(DnsConflict, match="acme"):
        await peer.dns.ensure(record(), ACME)
    await peer.dns.absent(record(), ACME)
    assert peer.world() == before
    assert not await peer.dns.find(record(), ACME)


@pytest.mark.parametrize("holder", [GLOBEX, ACME_ELSEWHERE])
async def test_the_record_of_another_tenant_or_installation_is_foreign(
    peer: Peer, holder: Mark
) -> None:
    await peer.dns.ensure(record(), holder)
    before = peer.world()
    with pytest.raises(DnsConflict):
        await peer.dns.ensure(record(), ACME)
    await peer.dns.absent(record(), ACME)
    assert peer.world() == before
    assert not await peer.dns.find(record(), ACME)


async def test_absent_takes_the_record_away_and_may_be_repeated(peer: Peer) -> None:
    await peer.dns.ensure(record("globex"), GLOBEX)
    await peer.dns.ensure(record(), ACME)
    await peer.dns.absent(record(), ACME)
    before = peer.world()
    await peer.dns.absent(record(), ACME)
    assert peer.world() == before
    assert await owned(peer.dns) == [OwnedRecord(record("globex"), GLOBEX)]


async def test_absent_needs_neither_the_same_value_nor_the_same_operation(dns: DnsProvider) -> None:
    await dns.ensure(record(), ACME)
    await dns.absent(record(value="192.0.2.99", ttl=1), ACME_LATER)
    assert await owned(dns) == []


async def test_absent_leaves_the_tenants_record_at_another_name(dns: DnsProvider) -> None:
    await dns.ensure(record("acme"), ACME)
    await dns.ensure(record("acme-new"), ACME_LATER)
    await dns.absent(record("acme"), ACME_LATER)
    assert await owned(dns) == [OwnedRecord(record("acme-new"), ACME_LATER)]


async def test_absent_in_an_empty_zone_succeeds_and_changes_nothing(peer: Peer) -> None:
    before = peer.world()
    await peer.dns.absent(record(), ACME)
    assert peer.world() == before
    assert await owned(peer.dns) == []


async def test_owned_lists_exactly_what_is_ours(peer: Peer) -> None:
    peer.place_foreign("foreign", RecordType.A, "192.0.2.1")
    await peer.dns.ensure(record("acme"), ACME)
    await peer.dns.ensure(record("globex"), GLOBEX)
    await peer.dns.ensure(record("elsewhere"), ACME_ELSEWHERE)
    ours = [OwnedRecord(record("acme"), ACME), OwnedRecord(record("globex"), GLOBEX)]
    assert await owned(peer.dns) == ours
    assert await owned(peer.dns, OTHERS) == [OwnedRecord(record("elsewhere"), ACME_ELSEWHERE)]


async def test_a_released_name_may_be_taken_by_another_tenant(dns: DnsProvider) -> None:
    await dns.ensure(record(), ACME)
    await dns.absent(record(), ACME)
    await dns.ensure(record(), GLOBEX)
    assert await owned(dns) == [OwnedRecord(record(), GLOBEX)]


async def test_a_reference_leads_to_in_sync_and_an_unknown_one_has_failed(dns: DnsProvider) -> None:
    reference = await dns.ensure(record(), ACME)
    assert await dns.propagation(reference) is Propagation.INSYNC
    assert await dns.propagation("never-heard-of") is Propagation.FAILED


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("acme\nevil", RecordType.A, "192.0.2.1"),
        ("acme evil", RecordType.A, "192.0.2.1"),
        ("ACME", RecordType.A, "192.0.2.1"),
        ("*", RecordType.A, "192.0.2.1"),
        ("@", RecordType.A, "192.0.2.1"),
        ("acme.evil", RecordType.A, "192.0.2.1"),
        ("", RecordType.A, "192.0.2.1"),
        ("acme", RecordType.A, "192.0.2.1\nevil IN A 192.0.2.2"),
        ("acme", RecordType.A, "2001:db8::1"),
        ("acme", RecordType.AAAA, "192.0.2.1"),
        ("acme", RecordType.AAAA, "fe80::1%x\nevil IN A 192.0.2.2"),
        ("acme", RecordType.CNAME, "ok.example.net. ; controlplane/x/y/z"),
        ("acme", RecordType.CNAME, "ok.example.net.\nevil IN A 192.0.2.2"),
        ("acme", RecordType.CNAME, "bad..example.net."),
        ("acme", RecordType.CNAME, "a" * 64 + ".example.net."),
        ("acme", RecordType.CNAME, "(example.net."),
        ("acme", RecordType.CNAME, ""),
    ],
)
async def test_what_could_smuggle_something_into_the_zone_is_refused(
    peer: Peer, name: str, kind: RecordType, value: str
) -> None:
    before = peer.world()
    with pytest.raises(ProviderRefused):
        await peer.dns.ensure(Record(Subdomain(name), kind, value), ACME)
    assert peer.world() == before


@pytest.mark.parametrize("ttl", [-1, 2**31])
async def test_a_ttl_out_of_range_is_refused(dns: DnsProvider, ttl: int) -> None:
    with pytest.raises(ProviderRefused, match="TTL"):
        await dns.ensure(record(ttl=ttl), ACME)


async def test_names_as_long_as_a_label_may_be_are_told_apart(dns: DnsProvider) -> None:
    longest = [record("a" * 62 + letter) for letter in "xy"]
    await dns.ensure(longest[0], ACME)
    await dns.ensure(longest[1], GLOBEX)
    assert [one.record for one in await owned(dns)] == longest
    await dns.absent(longest[0], ACME)
    assert await owned(dns) == [OwnedRecord(longest[1], GLOBEX)]


async def test_an_unavailable_zone_says_try_again_and_works_afterwards(peer: Peer) -> None:
    reference = await peer.dns.ensure(record(), ACME)
    await peer.cut_off()
    for attempt in (
        peer.dns.ensure(record("globex"), GLOBEX),
        peer.dns.absent(record(), ACME),
        peer.dns.find(record(), ACME),
        peer.dns.propagation(reference),
        owned(peer.dns),
    ):
        with pytest.raises(ProviderUnavailable):
            await attempt
    await peer.restore()
    assert await owned(peer.dns) == [OwnedRecord(record(), ACME)]


async def test_twenty_names_at_once_all_land(peer: Peer) -> None:
    providers = [peer.dns, peer.another()]
    names = [f"tenant-{number:02}" for number in range(20)]
    marks = [Mark(OURS, UUID(int=1000 + number), UUID(int=1)) for number in range(20)]
    async with asyncio.TaskGroup() as group:
        for number, (name, mark) in enumerate(zip(names, marks, strict=True)):
            group.create_task(providers[number % 2].ensure(record(name), mark))
    assert await owned(peer.dns) == [
        OwnedRecord(record(name), mark) for name, mark in zip(names, marks, strict=True)
    ]


async def test_of_two_tenants_that_want_a_name_at_once_exactly_one_gets_it(peer: Peer) -> None:
    outcomes = await asyncio.gather(
        peer.dns.ensure(record(), ACME),
        peer.another().ensure(record(), GLOBEX),
        return_exceptions=True,
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, DnsConflict)]
    assert len(refused) == 1
    winner = GLOBEX if isinstance(outcomes[0], DnsConflict) else ACME
    assert await owned(peer.dns) == [OwnedRecord(record(), winner)]
