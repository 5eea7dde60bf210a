"""Who says which tenant a request is for, and who is believed."""

from uuid import UUID, uuid4

import pytest

from controlplane.domain.tenants import TenantState
from controlplane.errors import InvalidRequest, TenantRequired
from controlplane.routing import RoutedTenant
from controlplane.routing.resolve import (
    Asked,
    HostLabel,
    Identified,
    Named,
    PathPrefix,
    TokenClaim,
    TrustedHeader,
    mismatch,
    whose,
)


def _claimed(asked):
    tokens = [value for name, value in asked.headers if name == b"authorization"]
    return UUID(tokens[0].decode()) if tokens else None


ACME, GLOBEX = uuid4(), uuid4()
HOST = HostLabel("example.com")
HEADER = TrustedHeader(["10.0.0.0/8", "::1/128"])
CHAIN = (HOST, HEADER, TokenClaim(_claimed), PathPrefix())


def _asked(host="api.test", path="/", header=None, token=None, client="10.1.2.3"):
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
        (_asked("acme.example.com", header=ACME), Named("acme"), [Identified(ACME)]),
        (_asked("acme.example.com", token=GLOBEX), Named("acme"), [Identified(GLOBEX)]),
        (
            _asked("acme.example.com", header=ACME, token=GLOBEX),
            Named("acme"),
            [Identified(ACME), Identified(GLOBEX)],
        ),
        (_asked(header=ACME), Identified(ACME), []),
        (_asked(header=ACME, token=GLOBEX), Identified(ACME), [Identified(GLOBEX)]),
        (_asked(token=GLOBEX), Identified(GLOBEX), []),
        (_asked(token=GLOBEX, path="/t/acme/x"), Identified(GLOBEX), []),
        (_asked(path="/t/acme/x"), Named("acme", "/t/acme"), []),
        (_asked(path="/t/acme"), Named("acme", "/t/acme"), []),
        (_asked(header=ACME, client="192.0.2.1", token=GLOBEX), Identified(GLOBEX), []),
    ],
)
def test_the_host_comes_first_then_the_header_then_the_token_then_the_path(asked, first, witnesses):
    assert whose(CHAIN, asked) == (first, witnesses)


@pytest.mark.parametrize(
    "asked",
    [
        _asked(),
        _asked("a.b.example.com"),
        _asked("example.com.attacker.test"),
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


@pytest.mark.parametrize(
    ("witnesses", "agree"),
    [
        ([], True),
        ([Identified(ACME), Named("acme")], True),
        ([Identified(GLOBEX)], False),
        ([Identified(ACME), Identified(GLOBEX)], False),
        ([Named("globex")], False),
    ],
)
def test_one_witness_who_means_another_is_enough(witnesses, agree):
    found = mismatch(witnesses, _tenant())
    assert (found is None) is agree
    assert found is None or str(GLOBEX) not in str(found)
