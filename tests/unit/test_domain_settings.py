"""Where the name servers are that tenants' own domains are asked of."""

import pytest

from controlplane.domain_settings import parse_nameserver


@pytest.mark.parametrize(
    ("text", "nameserver"),
    [
        ("192.0.2.53", ("192.0.2.53", 53)),
        ("192.0.2.53:5353", ("192.0.2.53", 5353)),
        ("2001:DB8::53", ("2001:db8::53", 53)),
        ("[2001:db8::53]:5353", ("2001:db8::53", 5353)),
    ],
)
def test_an_address_has_a_port_or_53(text: str, nameserver: tuple[str, int]) -> None:
    assert parse_nameserver(text) == nameserver


@pytest.mark.parametrize(
    "text",
    ["", "ns1.example.com", "192.0.2.53:", "192.0.2.53:x", "192.0.2.53:99999", "[::1]", "::1]"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be addresses such as 192\.0\.2\.53"):
        parse_nameserver(text)
