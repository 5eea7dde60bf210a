"""What an ownership record says, to whom, and where it stands."""

from controlplane.domain.dns import Record, RecordType
from controlplane.domain.naming import Subdomain
from controlplane_dns.ownership import Claim, companion, parse_claim
from controlplane_dns.updates import Seen
from tests.contract.test_dns_contract import ACME, ACME_LATER, GLOBEX

ALIAS = Record(Subdomain("acme"), RecordType.CNAME, "ingress.example.net.")


def test_of_several_claims_none_counts() -> None:
    ours, theirs = Claim.of(ALIAS, ACME), Claim.of(ALIAS, GLOBEX)
    assert Seen((ours,), in_use=True).claim_of(ACME_LATER) == ours
    for claims in ((), (theirs,), (None,), (ours, theirs), (theirs, ours), (ours, None)):
        assert Seen(claims, in_use=True).claim_of(ACME) is None


def test_a_claim_is_read_only_where_it_stands() -> None:
    claim = Claim.of(ALIAS, ACME)
    assert parse_claim(claim.strings, at="_cp-acme") == claim
    assert parse_claim(claim.strings, at="_cp-globex") is None
    assert parse_claim((*claim.strings, ""), at="_cp-acme") is None
    assert parse_claim(("", *claim.strings[1:]), at="_cp-acme") is None


def test_companions_are_labels_and_all_different() -> None:
    labels = [companion(name) for name in ("acme", "a" * 59, "a" * 60, "a" * 63)]
    assert [len(label) for label in labels] == [8, 63, 37, 37]
    assert len(set(labels)) == 4
