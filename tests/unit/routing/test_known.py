"""What a process may believe of the tenants, and for how long."""

from uuid import uuid4

import pytest

from controlplane.domain.tenants import TenantState
from controlplane.routing import RoutedTenant
from controlplane.routing.known import Ages, Changes, KnownTenants

AGES = Ages(fresh_s=2, ttl_s=100, negative_ttl_s=10, forget_s=60)
NOTHING = Changes({}, horizon=7)


def _tenant(subdomain="acme", state=TenantState.ACTIVE):
    return RoutedTenant(uuid4(), subdomain, "A", state, "starter", "abc")


@pytest.fixture
def known():
    """In contact at the time 0."""
    known = KnownTenants(AGES, size=3)
    known.in_contact(NOTHING, 0)
    return known


def test_before_the_first_contact_nothing_is_believed():
    known = KnownTenants(AGES, size=3)
    assert known.due(0)
    assert not known.believed(0)


@pytest.mark.parametrize(
    ("now", "due", "believed"),
    [(1.9, False, True), (2, True, True), (3.9, True, True), (4, True, False)],
)
def test_the_registry_is_asked_in_time_and_not_believed_for_ever(known, now, due, believed):
    assert (known.due(now), known.believed(now)) == (due, believed)


def test_an_answer_is_given_until_its_life_is_over(known):
    acme = _tenant()
    known.learn("acme", acme, 0)
    known.learn("nobody", None, 0)
    assert known.get("acme", 89).tenant is acme
    assert known.get("acme", 100) is None
    assert known.get("nobody", 8.9).tenant is None
    assert known.get("nobody", 10) is None
    assert known.get("globex", 0) is None


def test_what_is_learned_last_holds(known):
    known.learn("acme", None, 0)
    known.learn("acme", _tenant(), 0)
    assert known.get("acme", 1).tenant is not None
    known.learn("acme", None, 0)
    assert known.get("acme", 1).tenant is None


def test_what_is_forgotten_is_asked_anew(known):
    known.learn("acme", _tenant(), 0)
    known.learn("nobody", None, 0)
    known.forget("acme")
    known.forget("nobody")
    known.forget("stranger")
    assert known.get("acme", 0) is None
    assert known.get("nobody", 0) is None


def test_no_more_is_kept_than_the_size_and_strangers_crowd_out_nobody(known):
    for name in ("a", "b", "c", "d"):
        known.learn(name, _tenant(name), 0)
    for number in range(9):
        known.learn(f"x{number}", None, 0)
    assert [name for name in "abcd" if known.get(name, 0)] == ["b", "c", "d"]
    assert [n for n in range(9) if known.get(f"x{n}", 0)] == [6, 7, 8]


@pytest.mark.parametrize(
    ("horizon", "now", "outdated"), [(7, 60, False), (7, 61, True), (6, 1, True), (8, 1, False)]
)
def test_changes_do_not_tell_all_after_a_long_silence_or_from_another_server(
    known, horizon, now, outdated
):
    assert known.outdated(Changes({}, horizon), now) is outdated


def test_changes_that_another_server_tells_do_not_tell_all(known):
    """It may lack what the one before it told last, and have gone on from there."""
    assert known.outdated(Changes({}, horizon=8, server="another"), 1)


@pytest.mark.parametrize("state", list(TenantState))
def test_every_state_is_kept_but_that_a_tenant_is_being_set_up(known, state):
    known.learn("acme", _tenant(), 0)
    known.learn("acme", _tenant(state=state), 0)
    kept = known.get("acme", 1)
    assert (kept.tenant.state if kept else TenantState.PROVISIONING) is state
