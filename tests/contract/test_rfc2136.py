"""Beyond the contract: what is particular to ownership records and to a zone that others share."""

from collections.abc import AsyncIterator
from uuid import UUID, uuid5

import dns.update
import pytest

from controlplane.domain.dns import OwnedRecord, Propagation, Record, RecordType
from controlplane.domain.naming import Mark, Subdomain
from controlplane.errors import DnsConflict, ProviderRefused, ProviderUnavailable
from controlplane_dns.ownership import Claim, companion
from controlplane_dns.rfc2136 import Rfc2136
from controlplane_dns.talk import Address, Key, Server
from controlplane_dns.updates import Seen, Zone
from tests.contract.dns_peers import ZONE, provider
from tests.contract.test_dns_contract import ACME, ACME_LATER, GLOBEX, OURS, owned, record
from tests.name_servers import KEY_NAME, NameServer

pytestmark = pytest.mark.anyio
ALIAS = Record(Subdomain("acme"), RecordType.CNAME, "ingress.example.net.")


@pytest.fixture(
    params=[
        pytest.param("bind", marks=pytest.mark.requires("named")),
        pytest.param("knot", marks=pytest.mark.requires("knotd")),
    ]
)
def server(request: pytest.FixtureRequest) -> NameServer:
    found: NameServer = request.getfixturevalue(request.param)
    found.wipe(ZONE)
    return found


@pytest.fixture
async def zone(server: NameServer) -> AsyncIterator[Rfc2136]:
    """With the tenant globex in it, who must be there at the end as at the beginning."""
    opened = provider(server, server.port)
    await opened.ensure(record("globex"), GLOBEX)
    yield opened
    assert await opened.find(record("globex"), GLOBEX)


async def test_record_and_ownership_record_stand_beside_each_other(
    server: NameServer, zone: Rfc2136
) -> None:
    await zone.ensure(ALIAS, ACME)
    assert server.answer(f"acme.{ZONE}", "CNAME") == ["ingress.example.net."]
    told = f'"{ACME}" "acme" "CNAME" "ingress.example.net."'
    assert server.answer(f"_cp-acme.{ZONE}", "TXT") == [told]


async def test_a_record_that_somebody_put_beside_ours_is_told_and_stays(
    server: NameServer, zone: Rfc2136
) -> None:
    await zone.ensure(record(), ACME)
    server.place(ZONE, "acme", "A", "192.0.2.99")
    with pytest.raises(DnsConflict, match=r"192\.0\.2\.99"):
        await zone.ensure(record(ttl=60), ACME)
    await zone.absent(record(), ACME)
    assert server.answer(f"acme.{ZONE}", "A") == ["192.0.2.99"]
    assert server.answer(f"_cp-acme.{ZONE}", "TXT") == ["NXDOMAIN"]


async def test_other_types_at_the_name_outlive_the_tenant(
    server: NameServer, zone: Rfc2136
) -> None:
    await zone.ensure(record(), ACME)
    server.place(ZONE, "acme", "TXT", '"a proof for somebody"')
    await zone.ensure(record(value="192.0.2.11"), ACME_LATER)
    await zone.absent(record(), ACME)
    assert server.answer(f"acme.{ZONE}", "TXT") == ['"a proof for somebody"']
    assert server.answer(f"acme.{ZONE}", "A") == []


async def test_an_alias_that_the_server_silently_passes_over_is_no_success(
    server: NameServer, zone: Rfc2136
) -> None:
    await zone.ensure(record(), ACME)
    server.place(ZONE, "acme", "TXT", '"a proof for somebody"')
    with pytest.raises(ProviderUnavailable, match="tolerates no other"):
        await zone.ensure(ALIAS, ACME)


async def test_a_record_deleted_by_hand_is_missed_and_comes_back(
    server: NameServer, zone: Rfc2136
) -> None:
    await zone.ensure(record(), ACME)
    server.remove(ZONE, "acme")
    assert not await zone.find(record(), ACME)
    assert await owned(zone) == [OwnedRecord(record("globex"), GLOBEX)]
    await zone.ensure(record(), ACME)
    assert await zone.find(record(), ACME)


async def test_a_record_whose_ownership_record_is_gone_is_foreign(
    server: NameServer, zone: Rfc2136
) -> None:
    await zone.ensure(record(), ACME)
    server.remove(ZONE, "_cp-acme")
    before = server.records(ZONE)
    with pytest.raises(DnsConflict, match="at 'acme'"):
        await zone.ensure(record(), ACME)
    await zone.absent(record(), ACME)
    assert server.records(ZONE) == before


@pytest.mark.parametrize(
    "told",
    [
        '"v=spf1 -all"',
        f'"{ACME}"',
        f'"{ACME}" "globex" "A" "192.0.2.10"',
        f'"{ACME}" "acme" "MX" "192.0.2.10"',
        f'"{str(ACME).upper()}" "acme" "A" "192.0.2.10"',
    ],
)
async def test_what_only_looks_like_an_ownership_record_gives_no_right(
    server: NameServer, zone: Rfc2136, told: str
) -> None:
    server.place(ZONE, "acme", "A", "192.0.2.10")
    server.place(ZONE, "_cp-acme", "TXT", told)
    before = server.records(ZONE)
    with pytest.raises(DnsConflict, match="at '_cp-acme'"):
        await zone.ensure(record(), ACME)
    await zone.absent(record(), ACME)
    assert not await zone.find(record(), ACME)
    assert server.records(ZONE) == before


async def test_two_ownership_records_at_a_name_are_nobodys(
    server: NameServer, zone: Rfc2136
) -> None:
    await zone.ensure(record(), ACME)
    server.place(ZONE, "_cp-acme", "TXT", f'"{GLOBEX}" "acme" "A" "192.0.2.10"')
    before = server.records(ZONE)
    with pytest.raises(DnsConflict):
        await zone.ensure(record(), ACME)
    await zone.absent(record(), ACME)
    assert await owned(zone) == [OwnedRecord(record("globex"), GLOBEX)]
    assert server.records(ZONE) == before


async def test_remains_of_an_ownership_record_keep_the_name_taken(
    server: NameServer, zone: Rfc2136
) -> None:
    await zone.ensure(record(), GLOBEX)
    server.remove(ZONE, "acme")
    before = server.records(ZONE)
    with pytest.raises(DnsConflict, match="at '_cp-acme'"):
        await zone.ensure(record(), ACME)
    await zone.absent(record(), ACME)
    assert server.records(ZONE) == before


async def test_an_alias_to_another_ownership_record_is_not_followed(
    server: NameServer, zone: Rfc2136
) -> None:
    await zone.ensure(record("acme-new"), ACME)
    server.place(ZONE, "_cp-acme", "CNAME", "_cp-acme-new")
    await zone.absent(record(), ACME)
    assert await zone.find(record("acme-new"), ACME)


async def test_what_an_alias_leads_to_inside_the_zone_is_not_the_tenants(
    server: NameServer, zone: Rfc2136
) -> None:
    server.place(ZONE, "ingress", "A", "192.0.2.10")
    alias = Record(Subdomain("acme"), RecordType.CNAME, f"ingress.{ZONE}.")
    await zone.ensure(alias, ACME)
    await zone.ensure(alias, ACME_LATER)
    assert await zone.find(alias, ACME)
    await zone.absent(alias, ACME)
    assert server.answer(f"ingress.{ZONE}", "A") == ["192.0.2.10"]


async def test_a_wildcard_neither_blocks_a_name_nor_passes_for_its_record(
    server: NameServer, zone: Rfc2136
) -> None:
    server.place(ZONE, "*", "A", "192.0.2.10")
    server.place(ZONE, "*", "TXT", '"v=spf1 -all"')
    await zone.absent(record(), ACME)
    await zone.ensure(record(), ACME)
    server.remove(ZONE, "acme")
    assert server.answer(f"acme.{ZONE}", "A") == ["192.0.2.10"]
    assert not await zone.find(record(), ACME)
    await zone.ensure(record(), ACME)
    assert await zone.find(record(), ACME)


async def test_a_name_above_others_is_free(server: NameServer, zone: Rfc2136) -> None:
    server.place(ZONE, "www.acme", "A", "192.0.2.99")
    await zone.ensure(record(), ACME)
    await zone.absent(record(), ACME)
    assert server.answer(f"www.acme.{ZONE}", "A") == ["192.0.2.99"]


async def test_tenants_may_live_below_a_name_in_the_zone(server: NameServer, zone: Rfc2136) -> None:
    below = provider(server, server.port, domain=f"apps.{ZONE}")
    await below.ensure(record(), ACME)
    await zone.ensure(record(value="192.0.2.77"), ACME)
    assert server.answer(f"acme.apps.{ZONE}", "A") == ["192.0.2.10"]
    assert await owned(below) == [OwnedRecord(record(), ACME)]


async def test_a_zone_of_many_messages_is_listed_whole(server: NameServer, zone: Rfc2136) -> None:
    marks = {f"t{n:04}": Mark(OURS, uuid5(OURS, str(n)), UUID(int=1)) for n in range(800)}
    names = list(marks)
    for some in (names[:200], names[200:400], names[400:600], names[600:]):
        update = dns.update.UpdateMessage(ZONE)
        for name in some:
            strings = Claim.of(record(name), marks[name]).strings
            update.add(companion(name), 300, "TXT", " ".join(f'"{text}"' for text in strings))
            update.add(name, 300, "A", "192.0.2.10")
        server.send(update)
    listed = {one.record.name: one.mark for one in await owned(zone)}
    assert listed == {**marks, "globex": GLOBEX}


@pytest.mark.requires("named", "knotd")
async def test_a_change_is_pending_until_every_secondary_answers_it(
    bind: NameServer, knot: NameServer
) -> None:
    bind.wipe(ZONE)
    knot.wipe(ZONE)
    follower = Server(Address("127.0.0.1", knot.port), key=None, timeout_s=30)
    gone = Server(Address("127.0.0.1", 1), key=None, timeout_s=30)
    zone = provider(bind, bind.port, secondaries=(follower,))
    reference = await zone.ensure(record(), ACME)
    assert await zone.propagation(reference) is Propagation.PENDING
    knot.place(ZONE, "_cp-acme", "TXT", bind.answer(f"_cp-acme.{ZONE}", "TXT")[0])
    assert await zone.propagation(reference) is Propagation.INSYNC
    later = await zone.ensure(record(value="192.0.2.99"), ACME)
    assert await zone.propagation(later) is Propagation.PENDING
    assert await zone.propagation(reference) is Propagation.FAILED
    lonely = provider(bind, bind.port, secondaries=(gone,))
    assert await lonely.propagation(later) is Propagation.PENDING


async def test_a_zone_that_the_server_does_not_hold_is_refused_with_the_remedy(
    server: NameServer,
) -> None:
    zone = provider(server, server.port, zone="elsewhere.test", domain="elsewhere.test")
    for attempt in (
        zone.ensure(record(), ACME),
        zone.absent(record(), ACME),
        zone.find(record(), ACME),
        owned(zone),
    ):
        # Knot does not sign what it says of zones that it has never heard of.
        refused = (ProviderRefused, ProviderUnavailable)
        with pytest.raises(refused, match=r"primary server|hold the zone|allow this key"):
            await attempt


async def test_what_has_changed_since_it_was_seen_is_left_alone(
    server: NameServer, zone: Rfc2136
) -> None:
    """As by another worker, or by an operator, between a look and the update that follows it."""
    await zone.ensure(record(), ACME_LATER)
    said, now = Claim.of(record(), ACME), Claim.of(record(), ACME_LATER)
    seen, bare = Seen((now,), in_use=True, records=(record(),)), Seen((now,), in_use=False)
    messages, new = Zone(zone=ZONE, domain=ZONE), record(value="192.0.2.99")
    before = server.records(ZONE)
    key = Key(KEY_NAME, server.secret, server.algorithm)
    async with Server(Address("127.0.0.1", server.port), key=key, timeout_s=30).talk() as talk:
        for stale in (
            messages.first(new, ACME),
            messages.next(seen, said, new, ACME),
            messages.next(bare, now, new, ACME),
            messages.last(said),
        ):
            assert not await talk.apply(stale)
        assert server.records(ZONE) == before
        assert await talk.apply(messages.next(seen, now, new, ACME))
    assert await zone.find(new, ACME)
