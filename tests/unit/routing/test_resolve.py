"""Who says which tenant a request is for, and who is believed."""

from uuid import UUID, uuid4

import pytest

from controlplane.domain.tenants import TenantState
from controlplane.errors import InvalidRequest, TenantMismatch, TenantRequired
from controlplane.routing import RoutedTenant
from controlplane.routing.resolve import (
    Asked,
    Claimed,
    HostName,
    Identified,
    Named,
    PathPrefix,
    TokenClaim,
    TrustedHeader,
    agree,
    whose,
)


def _claimed(asked):
    tokens = [value for name, value in asked.headers if name == b"authorization"]
    return UUID(tokens[0].decode()) if tokens else None


ACME, GLOBEX = uuid4(), uuid4()
HOST = HostName("example.com")
HEADER = TrustedHeader(["10.0.0.0/8", "::1/128"])
CHAIN = (HOST, HEADER, TokenClaim(_claimed), PathPrefix())


def _asked(host="api", path="/", header=None, token=None, client="10.1.2.3"):
    headers = [(b"x-tenant-id", str(header).encode())] if header else []
    headers += [(b"authorization", str(token).encode())] if token else []
    return Asked(host, path, headers, client)


def _tenant(tenant_id=ACME, subdomain="acme"):
    return RoutedTenant(tenant_id, subdomain, "A", TenantState.ACTIVE, "starter", "abc")


@pytest.mark.parametrize(
    ("asked", "first", "witnesses"),
    [
        (_asked("acme.example.com"), Named("acme"), []),
        (_asked("acme.example.com", "/t/globex/x"), Named("acme"), []),
        (_asked("Portal.acme.test:443"), Named("portal.acme.test"), []),
        (
            _asked("portal.acme.test", header=ACME, token=GLOBEX),
            Named("portal.acme.test"),
            [Identified(ACME), Claimed(GLOBEX)],
        ),
        (_asked("acme.example.com", header=ACME), Named("acme"), [Identified(ACME)]),
        (_asked("acme.example.com", token=GLOBEX), Named("acme"), [Claimed(GLOBEX)]),
        (
            _asked("acme.example.com", header=ACME, token=GLOBEX),
            Named("acme"),
            [Identified(ACME), Claimed(GLOBEX)],
        ),
        (_asked(header=ACME), Identified(ACME), []),
        (_asked(header=ACME, token=GLOBEX), Identified(ACME), [Claimed(GLOBEX)]),
        (_asked(token=GLOBEX), Claimed(GLOBEX), []),
        (_asked(token=GLOBEX, path="/t/acme/x"), Claimed(GLOBEX), []),
        (_asked(path="/t/acme/x"), Named("acme", "/t/acme"), []),
        (_asked(path="/t/acme"), Named("acme", "/t/acme"), []),
        (_asked(header=ACME, client="192.0.2.1", token=GLOBEX), Claimed(GLOBEX), []),
    ],
)
def test_the_host_comes_first_then_the_header_then_the_token_then_the_path(asked, first, witnesses):
    assert whose(CHAIN, asked) == (first, witnesses)


@pytest.mark.parametrize(
    "asked",
    [
        _asked(),
        _asked("a.b.example.com"),
        _asked("example.com"),
        _asked(path="/t"),
        _asked(path="/t/"),
        _asked(path="/t//x"),
        _asked(path="/t/ACME/x"),
        _asked(path="/t/a.b/x"),
        _asked(path="/tt/acme"),
        _asked(path="/t/'; DROP TABLE x/"),
        _asked(header=ACME, client="192.0.2.1"),
        _asked(header=ACME, client=None),
        _asked(header=ACME, client="not an address"),
        _asked(header=ACME, client="::2"),
    ],
)
def test_whom_nobody_can_name_is_nobody(asked):
    with pytest.raises(TenantRequired):
        whose(CHAIN, asked)


@pytest.mark.parametrize("client", ["10.0.0.1", "::1", "::ffff:10.9.9.9"])
def test_a_proxys_header_is_believed_from_its_networks(client):
    assert HEADER(_asked(header=ACME, client=client)) == Identified(ACME)


@pytest.mark.parametrize(
    "values", [[b""], [b"acme"], [b"' OR 1=1"], [b"\xff"], [str(ACME).encode()] * 2]
)
def test_a_proxys_header_that_is_not_one_id_is_malformed(values):
    headers = [(b"x-tenant-id", value) for value in values]
    with pytest.raises(InvalidRequest):
        HEADER(Asked("api.test", "/", headers, "10.0.0.1"))


@pytest.mark.parametrize("network", ["10.0.0.1/8", "everywhere", ""])
def test_what_is_no_network_is_refused_at_the_start(network):
    with pytest.raises(ValueError, match=r"."):
        TrustedHeader([network])


@pytest.mark.parametrize("witnesses", [[], [Identified(ACME), Named("acme")], [Claimed(ACME)]])
def test_witnesses_who_mean_the_same_agree(witnesses):
    agree(witnesses, _tenant())


@pytest.mark.parametrize(
    ("witnesses", "claimed"),
    [
        ([Identified(GLOBEX)], None),
        ([Identified(ACME), Identified(GLOBEX)], None),
        ([Named("globex")], None),
        ([Claimed(GLOBEX)], GLOBEX),
        ([Claimed(ACME), Identified(GLOBEX)], None),
        ([Identified(GLOBEX), Claimed(GLOBEX)], GLOBEX),
    ],
)
def test_one_witness_who_means_another_is_enough_and_a_token_alone_says_whom(witnesses, claimed):
    with pytest.raises(TenantMismatch) as refused:
        agree(witnesses, _tenant())
    assert str(GLOBEX) not in str(refused.value)
    assert refused.value.claimed == claimed


@pytest.mark.parametrize(
    ("first", "said", "witnesses"),
    [
        (Named("acme"), Named("acme"), [Claimed(GLOBEX)]),
        (None, Claimed(GLOBEX), []),
    ],
)
def test_what_the_host_has_said_already_comes_before_everybody(first, said, witnesses):
    also = (TokenClaim(_claimed), PathPrefix())
    asked = _asked("nobody.test", "/t/initech/x", token=GLOBEX)
    assert whose(also, asked, first=first) == (said, witnesses)


def test_only_a_whole_host_may_be_nobodys():
    assert Named("portal.acme.test").perhaps
    assert not Named("acme").perhaps
