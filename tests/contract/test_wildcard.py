"""The provider that makes no records, before a real server with a wildcard in its zone."""

import pytest

from controlplane.domain.dns import Propagation, Record, RecordType
from controlplane.domain.naming import Subdomain
from controlplane.errors import DnsConflict, ProviderRefused, ProviderUnavailable
from controlplane_dns.talk import Address
from controlplane_dns.wildcard import Wildcard
from tests.contract.dns_peers import ZONE
from tests.contract.test_dns_contract import ACME, OURS, owned, record
from tests.name_servers import NameServer

pytestmark = [pytest.mark.anyio, pytest.mark.requires("named")]


@pytest.fixture
def zone(bind: NameServer) -> Wildcard:
    """An ingress at ingress.example.com, 192.0.2.10."""
    bind.wipe(ZONE)
    bind.place(ZONE, "ingress", "A", "192.0.2.10")
    bind.place(ZONE, "ingress", "AAAA", "2001:db8::10")
    return Wildcard(domain=ZONE, timeout_s=30, server=Address("127.0.0.1", bind.port))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (RecordType.A, "192.0.2.10"),
        (RecordType.AAAA, "2001:DB8:0::10"),
        (RecordType.CNAME, f"ingress.{ZONE}."),
    ],
)
async def test_a_name_that_the_wildcard_leads_to_the_ingress_is_proof_enough(
    bind: NameServer, zone: Wildcard, kind: RecordType, value: str
) -> None:
    bind.place(ZONE, "*", "CNAME", "ingress")
    before = bind.records(ZONE)
    wanted = Record(Subdomain("acme"), kind, value)
    reference = await zone.ensure(wanted, ACME)
    assert await zone.find(wanted, ACME)
    assert await zone.propagation(reference) is Propagation.INSYNC
    assert await zone.propagation("never-heard-of") is Propagation.FAILED
    await zone.absent(wanted, ACME)
    assert bind.records(ZONE) == before


async def test_without_the_wildcard_it_says_which_record_to_make(zone: Wildcard) -> None:
    with pytest.raises(ProviderUnavailable, match=r"'\*\.example\.com A 192\.0\.2\.10'"):
        await zone.ensure(record(), ACME)
    assert not await zone.find(record(), ACME)


async def test_a_name_that_leads_elsewhere_is_a_conflict(bind: NameServer, zone: Wildcard) -> None:
    bind.place(ZONE, "*", "A", "192.0.2.10")
    bind.place(ZONE, "acme", "A", "192.0.2.99")
    with pytest.raises(DnsConflict, match=r"192\.0\.2\.99"):
        await zone.ensure(record(), ACME)
    assert not await zone.find(record(), ACME)
    await zone.ensure(record("globex"), ACME)


async def test_nothing_in_the_zone_is_its_own(bind: NameServer, zone: Wildcard) -> None:
    bind.place(ZONE, "*", "A", "192.0.2.10")
    await zone.ensure(record(), ACME)
    assert await owned(zone, OURS) == []


async def test_resolvers_that_do_not_answer_say_try_again() -> None:
    zone = Wildcard(domain=ZONE, timeout_s=0.2, server=Address("127.0.0.1", 1))
    with pytest.raises(ProviderUnavailable, match="No answer about"):
        await zone.ensure(record(), ACME)


async def test_what_is_no_label_is_refused(zone: Wildcard) -> None:
    with pytest.raises(ProviderRefused):
        await zone.ensure(record("acme evil"), ACME)
