"""Beyond the contract: what is particular to Route 53, and what its refusals become."""

from collections.abc import AsyncIterator

import pytest
from botocore.session import Session

from controlplane.domain.dns import OwnedRecord, Propagation, Record, RecordType
from controlplane.domain.naming import Mark, Subdomain
from controlplane.errors import DnsConflict, ProviderRefused, ProviderUnavailable
from controlplane_dns.route53 import Route53
from controlplane_dns.route53_talk import Talk, once
from tests.contract.dns_peers import ZONE
from tests.contract.route53_peer import SECRET, Route53Peer, refusal, route53_peer
from tests.contract.test_dns_contract import ACME, ACME_LATER, GLOBEX, OURS, owned, record
from tests.http_proxy import Fault

pytestmark = pytest.mark.anyio
ALIAS = Record(Subdomain("acme"), RecordType.CNAME, "ingress.example.net.")
SESSION = "FwoGZXIvYXdzEowl"


@pytest.fixture
async def peer(moto: str) -> AsyncIterator[Route53Peer]:
    """With the tenant globex in it, who must be there at the end as at the beginning."""
    async with route53_peer(moto, ZONE) as opened:
        await opened.dns.ensure(record("globex"), GLOBEX)
        opened.front.requests.clear()
        yield opened
        opened.front.faults = []
        assert await opened.dns.find(record("globex"), GLOBEX)


async def test_an_alias_is_made_by_one_request_and_removed_by_two(peer: Route53Peer) -> None:
    await peer.dns.ensure(ALIAS, ACME)
    assert len(peer.front.requests) == 1
    await peer.dns.absent(ALIAS, ACME)
    assert len(peer.front.requests) == 3
    assert [one["Name"] for one in peer.world() if "acme" in one["Name"]] == []


async def test_the_ownership_record_has_the_records_ttl(peer: Route53Peer) -> None:
    await peer.dns.ensure(record(ttl=60), ACME)
    told = [one["TTL"] for one in peer.world() if "acme" in one["Name"]]
    assert told == [60, 60]


async def test_a_change_is_pending_until_route_53_has_spread_it(peer: Route53Peer) -> None:
    peer.front.pending = 2
    reference = await peer.dns.ensure(ALIAS, ACME)
    peer.front.requests.clear()
    # What the answer to the change has said is not asked again.
    assert await peer.dns.propagation(reference) is Propagation.PENDING
    assert peer.front.requests == []
    found = [await peer.another().propagation(reference) for _ in range(3)]
    assert found == [Propagation.PENDING, Propagation.PENDING, Propagation.INSYNC]


async def test_what_is_there_already_is_asked_about_all_the_same(peer: Route53Peer) -> None:
    await peer.dns.ensure(ALIAS, ACME)
    before = peer.world()
    peer.front.pending = 1
    reference = await peer.another().ensure(ALIAS, ACME)
    assert await peer.another().propagation(reference) is Propagation.PENDING
    assert await peer.another().propagation(reference) is Propagation.INSYNC
    assert peer.world() == before


async def test_a_change_that_route_53_does_not_know_has_failed(peer: Route53Peer) -> None:
    assert await peer.dns.propagation("C0NEVERHEARDOF") is Propagation.FAILED
    peer.front.requests.clear()
    assert await peer.dns.propagation('controlplane/x "acme"') is Propagation.FAILED
    assert peer.front.requests == []


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("A", ("192.0.2.99", "192.0.2.10")),
        ("AAAA", ("2001:db8::99",)),
        ("TXT", ('"v=spf1 -all"',)),
        ("MX", ("10 mail.example.net.",)),
    ],
)
async def test_what_somebody_put_beside_our_record_is_told_and_stays(
    peer: Route53Peer, kind: str, values: tuple[str, ...]
) -> None:
    await peer.dns.ensure(record(), ACME)
    peer.place("acme", kind, *values)
    with pytest.raises(DnsConflict, match=f"of type {kind}"):
        await peer.dns.ensure(record(ttl=60), ACME)
    await peer.dns.absent(record(), ACME)
    left = [one for one in peer.world() if one["Name"] == f"acme.{ZONE}."]
    kept = [{"Value": value} for value in values if value != "192.0.2.10"]
    assert [(one["Type"], one["ResourceRecords"]) for one in left] == [(kind, kept)]
    assert not [one for one in peer.world() if one["Name"] == f"_cp-acme.{ZONE}."]


@pytest.mark.parametrize("kind", ["TXT", "MX"])
async def test_a_name_with_a_text_or_a_mail_exchanger_is_taken(
    peer: Route53Peer, kind: str
) -> None:
    peer.place("acme", kind, '"hello"' if kind == "TXT" else "10 mail.example.net.")
    before = peer.world()
    for wanted in (record(), ALIAS):
        with pytest.raises(DnsConflict):
            await peer.dns.ensure(wanted, ACME)
        await peer.dns.absent(wanted, ACME)
    assert peer.world() == before


@pytest.mark.parametrize("wanted", [ALIAS, record()])
async def test_of_a_pair_of_which_one_is_taken_the_other_is_not_made(
    peer: Route53Peer, wanted: Record
) -> None:
    peer.place("_cp-acme", "TXT", '"somebody"')
    before = peer.world()
    with pytest.raises(DnsConflict, match="_cp-acme"):
        await peer.dns.ensure(wanted, ACME)
    await peer.dns.absent(wanted, ACME)
    assert peer.world() == before


async def test_a_changed_value_is_not_ours_any_more(peer: Route53Peer) -> None:
    await peer.dns.ensure(record(), ACME)
    peer.place("acme", "A", "192.0.2.99")
    with pytest.raises(DnsConflict):
        await peer.dns.ensure(record(), ACME_LATER)
    assert await owned(peer.dns) == [OwnedRecord(record("globex"), GLOBEX)]
    await peer.dns.absent(record(), ACME)
    left = [one for one in peer.world() if "acme" in one["Name"]]
    assert [one["ResourceRecords"] for one in left] == [[{"Value": "192.0.2.99"}]]


async def test_another_ttl_does_not_keep_a_record_from_being_removed(peer: Route53Peer) -> None:
    await peer.dns.ensure(record(), ACME)
    peer.place("acme", "A", "192.0.2.10", ttl=5)
    await peer.dns.absent(record(), ACME)
    assert [one for one in peer.world() if "acme" in one["Name"]] == []


async def test_a_record_by_a_routing_policy_is_nobodys_and_stays(peer: Route53Peer) -> None:
    weighted = {
        "Name": f"acme.{ZONE}.",
        "Type": "A",
        "TTL": 300,
        "SetIdentifier": "blue",
        "Weight": 1,
        "ResourceRecords": [{"Value": "192.0.2.10"}],
    }
    peer.apply({"Action": "CREATE", "ResourceRecordSet": weighted})
    before = peer.world()
    with pytest.raises(DnsConflict):
        await peer.dns.ensure(record(), ACME)
    await peer.dns.absent(record(), ACME)
    assert peer.world() == before


async def test_a_record_that_somebody_removed_is_made_again(peer: Route53Peer) -> None:
    await peer.dns.ensure(ALIAS, ACME)
    present = next(one for one in peer.world() if one["Name"] == f"acme.{ZONE}.")
    peer.apply({"Action": "DELETE", "ResourceRecordSet": present})
    assert not await peer.dns.find(ALIAS, ACME)
    await peer.dns.ensure(ALIAS, ACME)
    assert await peer.dns.find(ALIAS, ACME)


async def test_a_zone_of_many_pages_is_listed_whole(peer: Route53Peer) -> None:
    marks = [Mark(OURS, GLOBEX.tenant, ACME.operation) for _ in range(160)]
    pairs = [(record(f"tenant-{number:03}"), mark) for number, mark in enumerate(marks)]
    changes = [
        {"Action": "CREATE", "ResourceRecordSet": one}
        for wanted, mark in pairs
        for one in peer.dns._zone._pair(wanted, mark)  # noqa: SLF001  as one batch, for speed
    ]
    peer.apply(*changes)
    found = await owned(peer.dns)
    assert [one.record.name for one in found][1:] == [wanted.name for wanted, _ in pairs]
    assert len(peer.front.requests) == 2


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (403, "AccessDenied", "dns-route53.md"),
        (404, "NoSuchHostedZone", "check the zone's id"),
        (403, "ExpiredToken", "credentials have expired"),
        (403, "InvalidClientTokenId", "does not know these credentials"),
        (403, "SignatureDoesNotMatch", "secret of the access key"),
        (400, "InvalidInput", "InvalidInput"),
    ],
)
async def test_what_will_not_pass_by_itself_is_refused_once_with_the_remedy(
    peer: Route53Peer, status: int, code: str, said: str
) -> None:
    body = refusal(code, f"The Canonical String was host {SECRET} x-amz-security-token:{SESSION}")
    peer.front.faults = [Fault(status, body=body, times=9)]
    with pytest.raises(ProviderRefused, match=said) as caught:
        await peer.dns.ensure(ALIAS, ACME)
    assert len(peer.front.requests) == 1
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert SECRET not in str(caught.value)
    assert SESSION not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "Throttling"),
        (400, "PriorRequestNotComplete"),
        (503, "ServiceUnavailable"),
        (500, "InternalFailure"),
        (403, "RequestTimeTooSkewed"),
    ],
)
async def test_what_may_pass_is_left_to_the_operation_to_try_again(
    peer: Route53Peer, status: int, code: str
) -> None:
    headers = {"Retry-After": "7"}
    peer.front.faults = [Fault(status, headers=headers, body=refusal(code), times=2)]
    for _ in range(2):
        with pytest.raises(ProviderUnavailable, match=code):
            await peer.dns.ensure(ALIAS, ACME)
    assert len(peer.front.requests) == 2
    await peer.dns.ensure(ALIAS, ACME)
    assert await peer.dns.find(ALIAS, ACME)


async def test_who_says_only_that_it_is_too_much_is_asked_again_after_a_second(
    peer: Route53Peer,
) -> None:
    peer.front.faults = [Fault(400, body=refusal("PriorRequestNotComplete"))]
    with pytest.raises(ProviderUnavailable) as caught:
        await peer.dns.ensure(ALIAS, ACME)
    assert caught.value.retry_after_s == 1


async def test_a_batch_that_can_never_be_right_is_refused_with_the_reason(
    peer: Route53Peer,
) -> None:
    reason = "[RRSet with DNS name acme.example.org. is not permitted in zone example.com.]"
    body = refusal("InvalidChangeBatch", reason)
    peer.front.faults = [Fault(400, body=body, method="POST", times=2)]
    with pytest.raises(ProviderRefused, match="not permitted in zone"):
        await peer.dns.ensure(ALIAS, ACME)


async def test_a_change_whose_answer_comes_too_late_is_there_once(peer: Route53Peer) -> None:
    impatient = peer.another(timeout_s=2)
    peer.front.faults = [Fault(200, method="POST", after_effect=True, latency_s=60)]
    with pytest.raises(ProviderUnavailable, match="ReadTimeout"):
        await impatient.ensure(ALIAS, ACME)
    before = peer.world()
    assert await peer.dns.find(ALIAS, ACME)
    await peer.dns.ensure(ALIAS, ACME)
    assert peer.world() == before


async def test_without_credentials_the_refusal_says_so(peer: Route53Peer, moto: str) -> None:
    def nobody() -> object:
        session = Session()
        session.get_component("credential_provider").providers = []
        return session.create_client("route53", "us-east-1", config=once(1), endpoint_url=moto)

    lost = Route53(Talk(nobody), zone_id=peer.zone_id, domain=ZONE)
    with pytest.raises(ProviderRefused, match="no credentials"):
        await lost.ensure(ALIAS, ACME)
    lost.close()
