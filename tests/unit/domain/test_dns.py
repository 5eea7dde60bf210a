"""The record of a tenant follows from where its subdomain shall lead."""

import pytest

from controlplane.domain.dns import Record, RecordType, record_for
from controlplane.domain.naming import parse_subdomain

ACME = parse_subdomain("acme")


@pytest.mark.parametrize(
    ("target", "kind", "value"),
    [
        ("192.0.2.1", RecordType.A, "192.0.2.1"),
        ("2001:db8::1", RecordType.AAAA, "2001:db8::1"),
        ("ingress.example.com", RecordType.CNAME, "ingress.example.com."),
        ("ingress.example.com.", RecordType.CNAME, "ingress.example.com."),
        ("192.0.2", RecordType.CNAME, "192.0.2."),
    ],
)
def test_an_address_gets_an_address_record_and_a_name_an_alias(
    target: str, kind: RecordType, value: str
) -> None:
    assert record_for(ACME, target) == Record(ACME, kind, value, 300)


def test_the_time_to_live_can_be_chosen() -> None:
    assert record_for(ACME, "192.0.2.1", ttl=60).ttl == 60
