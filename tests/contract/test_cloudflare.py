"""Beyond the contract: what is particular to a zone at Cloudflare."""

from collections.abc import AsyncIterator

import pytest

from controlplane.domain.dns import OwnedRecord, Propagation, Record, RecordType
from controlplane.domain.naming import Subdomain
from controlplane.errors import DnsConflict, ProviderRefused, ProviderUnavailable
from controlplane_dns.cloudflare_zone import comment, parse_comment
from tests.contract.cloudflare_fake import CloudflareFake, told
from tests.contract.cloudflare_peer import CHANGES, ZONE, provider
from tests.contract.test_dns_contract import (
    ACME,
    ACME_ELSEWHERE,
    ACME_LATER,
    GLOBEX,
    OURS,
    owned,
    record,
)
from tests.http_server import Fault, Request

pytestmark = pytest.mark.anyio
ALIAS = Record(Subdomain("acme"), RecordType.CNAME, "ingress.example.net.")


@pytest.fixture
async def fake() -> AsyncIterator[CloudflareFake]:
    """With the tenant globex in its zone, who must be there at the end as at the beginning."""
    async with CloudflareFake(ZONE) as opened:
        await provider(opened.api).ensure(record("globex"), GLOBEX)
        before = opened.at("globex")
        opened.requests.clear()
        yield opened
        assert opened.at("globex") == before


async def test_a_record_carries_its_mark_from_the_moment_it_is_there(fake: CloudflareFake) -> None:
    await provider(fake.api).ensure(ALIAS, ACME)
    (kept,) = fake.at("acme")
    assert kept["comment"] == (
        "controlplane/AAAAAAAAAAAAAAAAAAAACg/AAAAAAAAAAAAAAAAAAAAAQ/AAAAAAAAAAAAAAAAAAAAZQ"
    )
    assert (kept["content"], kept["proxied"]) == ("ingress.example.net", False)
    assert [request.method for request in fake.requests] == ["GET", "POST"]


async def test_what_is_as_it_should_be_costs_one_request_and_no_change(
    fake: CloudflareFake,
) -> None:
    await provider(fake.api).ensure(record(), ACME)
    fake.requests.clear()
    await provider(fake.api).ensure(record(), ACME)
    assert [request.method for request in fake.requests] == ["GET"]


async def test_a_changed_value_leaves_what_an_operator_has_set(fake: CloudflareFake) -> None:
    """Proxied records have no TTL of their own; that makes them no other record."""
    zone = provider(fake.api)
    await zone.ensure(record(), ACME)
    (kept,) = fake.at("acme")
    fake.records[kept["id"]] |= {"proxied": True, "ttl": 1}
    before = fake.at("acme")
    await zone.ensure(record(), ACME)
    assert fake.at("acme") == before
    assert await zone.find(record(), ACME)
    assert OwnedRecord(record(), ACME) in await owned(zone)
    await zone.ensure(record(value="192.0.2.11"), ACME_LATER)
    await zone.ensure(ALIAS, ACME_LATER)
    (changed,) = fake.at("acme")
    assert (changed["proxied"], changed["type"]) == (True, "CNAME")


async def test_another_type_takes_the_old_ones_place_in_one_transaction(
    fake: CloudflareFake,
) -> None:
    zone = provider(fake.api)
    await zone.ensure(ALIAS, ACME)
    fake.requests.clear()
    await zone.ensure(record(), ACME)
    changes = [request.target for request in fake.requests if request.method in CHANGES]
    assert [target.rpartition("/")[2] for target in changes] == ["batch"]
    assert [one["type"] for one in fake.at("acme")] == ["A"]


async def test_two_records_of_a_tenant_at_its_name_become_one_again(fake: CloudflareFake) -> None:
    zone = provider(fake.api)
    for value in ("192.0.2.10", "192.0.2.20", "192.0.2.21"):
        fake.place(f"acme.{ZONE}", "A", value, comment=comment(ACME))
    await zone.ensure(record(), ACME)
    assert [one["content"] for one in fake.at("acme")] == ["192.0.2.10"]
    fake.place(f"acme.{ZONE}", "AAAA", "2001:db8::1", comment=comment(ACME_LATER))
    await zone.absent(record(), ACME)
    assert fake.at("acme") == []


@pytest.mark.parametrize(
    ("kind", "content"),
    [("A", "192.0.2.99"), ("AAAA", "2001:db8::99"), ("TXT", "a proof"), ("NS", "ns.else.test")],
)
async def test_a_free_name_holds_nothing_at_all(
    fake: CloudflareFake, kind: str, content: str
) -> None:
    fake.place(f"acme.{ZONE}", kind, content)
    before = fake.at("acme")
    with pytest.raises(DnsConflict, match=f"'acme' is held by the record {kind} {content}"):
        await provider(fake.api).ensure(record(), ACME)
    assert fake.at("acme") == before


async def test_an_address_that_somebody_put_beside_ours_is_told_and_stays(
    fake: CloudflareFake,
) -> None:
    zone = provider(fake.api)
    await zone.ensure(record(), ACME)
    theirs = fake.place(f"acme.{ZONE}", "A", "192.0.2.99")
    with pytest.raises(DnsConflict, match=r"192\.0\.2\.99"):
        await zone.ensure(record(), ACME)
    await zone.absent(record(), ACME)
    assert fake.at("acme") == [theirs]


async def test_other_types_at_the_name_outlive_the_tenant(fake: CloudflareFake) -> None:
    zone = provider(fake.api)
    await zone.ensure(record(), ACME)
    theirs = fake.place(f"acme.{ZONE}", "TXT", "a proof")
    await zone.ensure(record(value="192.0.2.11"), ACME_LATER)
    await zone.absent(record(), ACME)
    assert fake.at("acme") == [theirs]


@pytest.mark.parametrize(
    ("kind", "content", "code"),
    [
        ("CNAME", "elsewhere.example.net", 81054),
        ("A", "192.0.2.10", 81058),
        ("NS", "ns.elsewhere.test", 81056),
        # Cloudflare lets both stand; ours goes when the operation is undone.
        ("A", "192.0.2.99", None),
    ],
)
async def test_who_comes_between_look_and_change_has_the_name(
    fake: CloudflareFake, kind: str, content: str, code: int | None
) -> None:
    def overtake(request: Request) -> None:
        if request.method in CHANGES and not fake.at("acme"):
            fake.place(f"acme.{ZONE}", kind, content)

    fake.meanwhile = overtake
    zone = provider(fake.api)
    with pytest.raises(DnsConflict, match=f"{kind} {content}"):
        await zone.ensure(record(), ACME)
    assert fake.refused == [code] * bool(code)
    await zone.absent(record(), ACME)
    assert [(one["type"], one["content"]) for one in fake.at("acme")] == [(kind, content)]


async def test_an_alias_is_refused_where_an_address_came_between(fake: CloudflareFake) -> None:
    def overtake(request: Request) -> None:
        if request.method in CHANGES:
            fake.place(f"acme.{ZONE}", "A", "192.0.2.99")

    fake.meanwhile = overtake
    with pytest.raises(DnsConflict, match=r"A 192\.0\.2\.99"):
        await provider(fake.api).ensure(ALIAS, ACME)
    assert fake.refused == [81053]
    assert [one["type"] for one in fake.at("acme")] == ["A"]


async def test_a_new_value_that_somebody_took_meanwhile_is_a_conflict(
    fake: CloudflareFake,
) -> None:
    def overtake(request: Request) -> None:
        if request.target.endswith("/batch"):
            fake.place(f"acme.{ZONE}", "A", "192.0.2.11")

    zone = provider(fake.api)
    await zone.ensure(record(), ACME)
    fake.meanwhile = overtake
    with pytest.raises(DnsConflict, match=r"192\.0\.2\.11"):
        await zone.ensure(record(value="192.0.2.11"), ACME)
    assert fake.refused == [81058]
    assert [one["content"] for one in fake.at("acme")] == ["192.0.2.10", "192.0.2.11"]


async def test_a_record_that_went_between_look_and_change_is_made_anew(
    fake: CloudflareFake,
) -> None:
    def take_away(request: Request) -> None:
        if request.target.endswith("/batch"):
            for one in fake.at("acme"):
                del fake.records[one["id"]]

    zone = provider(fake.api)
    await zone.ensure(record(), ACME)
    fake.meanwhile = take_away
    await zone.ensure(record(value="192.0.2.11"), ACME)
    assert fake.refused == [81044]
    assert [one["content"] for one in fake.at("acme")] == ["192.0.2.11"]


async def test_a_record_that_went_before_it_was_taken_away_is_gone(fake: CloudflareFake) -> None:
    def take_away(request: Request) -> None:
        if request.method == "DELETE":
            del fake.records[request.target.rpartition("/")[2]]

    zone = provider(fake.api)
    await zone.ensure(record(), ACME)
    fake.meanwhile = take_away
    await zone.absent(record(), ACME)
    assert fake.refused == [81044]
    assert fake.at("acme") == []


async def test_a_zone_that_does_not_show_what_it_holds_is_no_success(
    fake: CloudflareFake,
) -> None:
    nothing = told(result=[], result_info={"total_pages": 0, "total_count": 0})
    fake.faults = [Fault(200, body=nothing, method="GET", times=9)]
    with pytest.raises(ProviderUnavailable, match="does not show yet"):
        await provider(fake.api).ensure(record(), ACME)
    assert len(fake.at("acme")) == 1


async def test_many_records_come_in_pages_and_each_once(fake: CloudflareFake) -> None:
    fake.largest_page = 2
    zone = provider(fake.api)
    for number in range(4):
        fake.place(f"foreign{number}.{ZONE}", "A", "192.0.2.1", comment="controlplane/")
        await zone.ensure(record(f"t{number}"), ACME)
    # As names go that are no tenant's: of another depth, the zone's own, another type.
    for name, kind in ((f"a.b.{ZONE}", "A"), (ZONE, "A"), (f"txt.{ZONE}", "TXT")):
        fake.place(name, kind, "192.0.2.1", comment=comment(ACME))
    fake.requests.clear()
    assert [one.record.name for one in await owned(zone)] == ["globex", "t0", "t1", "t2", "t3"]
    assert len(fake.requests) == 4


@pytest.mark.parametrize("number", [1, 2])
async def test_a_listing_that_changes_meanwhile_is_no_listing(
    fake: CloudflareFake, number: int
) -> None:
    def change(request: Request) -> None:
        if f"&page={number + 1}" in request.target.replace("?", "&"):
            fake.place(f"a-new.{ZONE}", "A", "192.0.2.1", comment=comment(ACME))

    fake.largest_page = 2
    for name in ("t0", "t1", "t2", "t3"):
        fake.place(f"{name}.{ZONE}", "A", "192.0.2.1", comment=comment(ACME))
    fake.meanwhile = change
    with pytest.raises(ProviderUnavailable, match="changed while"):
        await owned(provider(fake.api))


async def test_marks_that_differ_in_case_alone_are_different_installations(
    fake: CloudflareFake,
) -> None:
    """Cloudflare's filters see no difference between them."""
    spelled = comment(ACME)
    twin = parse_comment(spelled.replace("AAACg/", "aaacg/", 1))
    assert twin is not None
    assert comment(twin).lower() == spelled.lower()
    zone = provider(fake.api)
    await zone.ensure(record(), twin)
    assert await owned(zone) == [OwnedRecord(record("globex"), GLOBEX)]
    assert await owned(zone, twin.installation) == [OwnedRecord(record(), twin)]


async def test_a_zone_that_the_domain_is_not_in_is_left_as_it_was(fake: CloudflareFake) -> None:
    before = dict(fake.records)
    with pytest.raises(ProviderRefused, match="not the one that the base domain lies in"):
        await provider(fake.api, domain="apps.elsewhere.test").ensure(record(), ACME)
    assert fake.records == before


async def test_tenants_may_live_below_a_name_in_the_zone(fake: CloudflareFake) -> None:
    below = provider(fake.api, domain=f"apps.{ZONE}")
    await below.ensure(record(), ACME)
    assert await owned(below) == [OwnedRecord(record(), ACME)]
    assert [one["content"] for one in fake.at("acme.apps")] == ["192.0.2.10"]
    await provider(fake.api).ensure(record(), ACME_ELSEWHERE)
    assert await owned(below, OURS) == [OwnedRecord(record(), ACME)]


async def test_a_reference_of_an_earlier_state_has_failed(fake: CloudflareFake) -> None:
    zone = provider(fake.api)
    reference = await zone.ensure(record(), ACME)
    await zone.ensure(record(), ACME_LATER)
    assert await zone.propagation(reference) is Propagation.FAILED
