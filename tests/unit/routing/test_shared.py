"""What processes tell each other of tenants holds no secret, and is read exactly or not at all."""

import dataclasses
import json
from uuid import UUID

import pytest

from controlplane.domain.tenants import TenantState
from controlplane.routing import RoutedTenant
from controlplane.routing.shared import SharedAnswer, packed, unpacked

ACME = RoutedTenant(
    UUID(int=7), "acme", "Acme & Søn", TenantState.SUSPENDED, "galactic", "core1,sample2"
)
HELD = SharedAnswer("acme", ACME, 2**62, "1700000000.25/5", 1700000001.5)
FREE = SharedAnswer("nobody", None, 0, "1700000000.25/5", 0.5)
BARE = dataclasses.replace(HELD, tenant=dataclasses.replace(ACME, revision=None))
OWN = dataclasses.replace(HELD, subdomain="portal.acme.test")
MOVED = dataclasses.replace(
    HELD, subdomain="old.acme.test", tenant=dataclasses.replace(ACME, moved_to="portal.acme.test")
)
NOBODYS = dataclasses.replace(FREE, subdomain="nobody.test")


@pytest.mark.parametrize("answer", [HELD, FREE, BARE, OWN, MOVED, NOBODYS])
def test_what_is_written_is_read(answer):
    assert unpacked(packed(answer)) == answer


def test_nothing_is_told_but_ids_names_states_and_revisions():
    """Whoever adds a field decides here whether Redis may know it."""
    assert json.loads(packed(HELD)) == {
        "version": 1,
        "subdomain": "acme",
        "horizon": 2**62,
        "server": "1700000000.25/5",
        "at": 1700000001.5,
        "tenant": {
            "id": "00000000-0000-0000-0000-000000000007",
            "name": "Acme & Søn",
            "state": "suspended",
            "tier": "galactic",
            "revision": "core1,sample2",
        },
    }
    moved = json.loads(packed(MOVED))
    assert moved["subdomain"] == "old.acme.test"
    assert moved["tenant"] == {
        **json.loads(packed(HELD))["tenant"],
        "subdomain": "acme",
        "moved_to": "portal.acme.test",
    }
    told = {"id", "subdomain", "name", "state", "tier", "revision", "moved_to"}
    assert {field.name for field in dataclasses.fields(RoutedTenant)} == told


def test_what_an_earlier_release_wrote_is_read_and_what_it_reads_is_written():
    """It knew subdomains alone, and reads of a tenant what it knows."""
    tenant = {
        "id": str(UUID(int=7)),
        "name": "Acme & Søn",
        "state": "suspended",
        "tier": "galactic",
        "revision": "core1,sample2",
    }
    earlier = {
        "version": 1,
        "subdomain": "acme",
        "horizon": 2**62,
        "server": "1700000000.25/5",
        "at": 1700000001.5,
        "tenant": tenant,
    }
    assert unpacked(json.dumps(earlier).encode()) == HELD
    assert json.loads(packed(HELD)) == earlier
    assert json.loads(packed(MOVED))["tenant"].items() >= tenant.items()
    assert unpacked(_but_tenant(subdomain="globex", moved_to="evil.test")) == HELD


def _but(**changes):
    return json.dumps({**json.loads(packed(HELD)), **changes}).encode()


def _but_tenant(**changes):
    return _but(tenant={**json.loads(packed(HELD))["tenant"], **changes})


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"garbage",
        b"\xff\xfe\x00",
        b"null",
        b"[]",
        b"7",
        b"{}",
        b'"acme"',
        b"[" * 4000,
        b'{"a":' * 800,
        b"9" * 4000,
        packed(HELD)[:-1],
        packed(HELD) + b"x",
        b" " * 5000 + packed(HELD),
        _but(version=2),
        _but(version=True),
        _but(version="1"),
        _but(subdomain=None),
        _but(subdomain=7),
        _but(horizon="7"),
        _but(horizon=-1),
        _but(horizon=2**63),
        _but(horizon=7.5),
        _but(horizon=True),
        _but(server=7),
        _but(at="now"),
        _but(at=None),
        _but(at=7),
        _but(tenant="acme"),
        _but(tenant=[]),
        _but(tenant={}),
        _but(tenant=7),
        _but_tenant(id="acme"),
        _but_tenant(id=7),
        _but_tenant(id=None),
        _but_tenant(name=None),
        _but_tenant(name=["Acme"]),
        _but_tenant(state="teleporting"),
        _but_tenant(state=None),
        _but_tenant(tier=3),
        _but_tenant(revision=3),
        _but(subdomain="portal.acme.test"),
        _but(
            subdomain="portal.acme.test",
            tenant={**json.loads(packed(OWN))["tenant"], "moved_to": 7},
        ),
        _but(
            subdomain="portal.acme.test",
            tenant={**json.loads(packed(OWN))["tenant"], "subdomain": None},
        ),
    ],
)
def test_what_is_not_exactly_an_answer_is_none(payload):
    assert unpacked(payload) is None


def test_what_a_later_version_adds_within_the_same_form_is_left_aside():
    assert unpacked(_but(more="of it")) == HELD
