"""Whose quotas a request counts to, and from where it comes."""

from ipaddress import ip_network
from typing import Any
from uuid import UUID, uuid4

import pytest

from controlplane.domain.principals import Principal, PrincipalKind
from controlplane.domain.ratelimit import Quota
from controlplane.domain.tenants import TenantState
from controlplane.routing import RoutedTenant
from controlplane.web.ratelimit_keys import Limits, address_of, quotas_of

ACME, GLOBEX = UUID(int=1), UUID(int=2)
LIMITS = Limits(tenant=1000, principal=300, address=100, tiers={"professional": 5000, "free": 0})
PROXIES = [ip_network("10.0.0.0/8"), ip_network("2001:db8:1::/48")]


def tenant(tenant_id: UUID = ACME, tier: str = "starter") -> RoutedTenant:
    return RoutedTenant(tenant_id, "acme", "Acme", TenantState.ACTIVE, tier, None)


def principal(tenant_id: UUID = ACME) -> Principal:
    return Principal(uuid4(), tenant_id, frozenset(), PrincipalKind.USER)


def asked(client: str | None, *forwarded: str) -> Any:
    headers = [(b"X-Forwarded-For", value.encode()) for value in forwarded]
    return {"client": None if client is None else (client, 4711), "headers": headers}


def test_who_speaks_is_counted_beside_his_tenant() -> None:
    ada = principal()
    assert quotas_of(LIMITS, tenant(), ada, "192.0.2.1") == {
        "tenant": Quota(f"tenant:{ACME}", 1000),
        "principal": Quota(f"principal:{ACME}:{ada.id}", 300),
    }


def test_whoever_is_unknown_is_counted_by_his_address() -> None:
    assert quotas_of(LIMITS, tenant(), None, "192.0.2.1") == {
        "tenant": Quota(f"tenant:{ACME}", 1000),
        "address": Quota(f"address:{ACME}:192.0.2.1", 100),
    }
    assert list(quotas_of(LIMITS, tenant(), None, None)) == ["tenant"]


def test_no_counter_of_one_tenant_is_another_ones() -> None:
    somebody = principal()
    for who, address in ((somebody, None), (None, "192.0.2.1")):
        acme = quotas_of(LIMITS, tenant(ACME), who, address).values()
        globex = quotas_of(LIMITS, tenant(GLOBEX), who, address).values()
        assert not {quota.counter for quota in acme} & {quota.counter for quota in globex}
        assert all(str(ACME) in quota.key for quota in acme)


@pytest.mark.parametrize(
    ("tier", "limit"), [("starter", 1000), ("professional", 5000), ("unheard-of", 1000)]
)
def test_a_tier_may_have_a_limit_of_its_own(tier: str, limit: int) -> None:
    assert quotas_of(LIMITS, tenant(tier=tier), None, None)["tenant"].limit == limit


def test_zero_is_no_limit() -> None:
    assert quotas_of(LIMITS, tenant(tier="free"), None, None) == {}
    assert quotas_of(Limits(0, 0, 0), tenant(), principal(), "192.0.2.1") == {}


@pytest.mark.parametrize(
    ("client", "forwarded", "address"),
    [
        # Nobody who is connected directly is believed a word.
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.9"], "192.0.2.1"),
        ("192.0.2.1", ["10.0.0.7"], "192.0.2.1"),
        # Of a proxy's, the last that is no proxy: the client has written what stands before.
        ("10.0.0.7", ["192.0.2.1"], "192.0.2.1"),
        ("10.0.0.7", ["198.51.100.9, 192.0.2.1"], "192.0.2.1"),
        ("10.0.0.7", ["198.51.100.9", "192.0.2.1"], "192.0.2.1"),
        ("10.0.0.7", ["198.51.100.9,192.0.2.1 , 10.1.1.1"], "192.0.2.1"),
        ("::ffff:10.0.0.7", ["192.0.2.1"], "192.0.2.1"),
        # Where that is no address, nothing is known; least of all what the client has written.
        ("10.0.0.7", [], None),
        ("10.0.0.7", [""], None),
        ("10.0.0.7", ["10.2.2.2"], None),
        ("10.0.0.7", ["192.0.2.1, unknown"], None),
        ("10.0.0.7", ["192.0.2.1, 192.0.2.1:80"], None),
        ("10.0.0.7", ["192.0.2.1, "], None),
        (None, ["192.0.2.1"], None),
        # A site of IPv6 is one address; an address that is spelled otherwise is no other one.
        ("2001:db8:2:3::1", [], "2001:db8:2:3::/64"),
        ("2001:db8:2:3:ffff::2", [], "2001:db8:2:3::/64"),
        ("::ffff:192.0.2.1", [], "192.0.2.1"),
        ("2001:db8:1::9", ["2001:0DB8:0002:0003:0::7"], "2001:db8:2:3::/64"),
    ],
)
def test_an_address_is_known_by_the_connection_and_by_proxies_that_are_trusted(
    client: str | None, forwarded: list[str], address: str | None
) -> None:
    assert address_of(asked(client, *forwarded), PROXIES) == address


def test_without_proxies_no_header_is_looked_at() -> None:
    assert address_of(asked("10.0.0.7", "192.0.2.1"), ()) == "10.0.0.7"
