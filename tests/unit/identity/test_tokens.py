"""Tokens: what is signed is believed while it lasts, and nothing else ever is."""

from datetime import timedelta
from uuid import uuid4

import pytest

from controlplane.domain.principals import Principal, PrincipalKind
from controlplane.errors import AuthenticationRequired
from controlplane.identity.tokens import LONGEST, SignedTokens
from tests.bad_tokens import AUDIENCE, BAD, KEY, claims, signed

ISSUED = 1_800_000_000


def _at(now: float) -> SignedTokens:
    return SignedTokens(KEY, audience=AUDIENCE, now=lambda: now)


def _principal() -> Principal:
    roles = frozenset({"tenant_admin", "auditor"})
    return Principal(uuid4(), uuid4(), roles, PrincipalKind.CLIENT)


def test_what_was_issued_is_verified_as_it_was() -> None:
    principal = _principal()
    token = _at(ISSUED).issue(principal, lifetime=timedelta(minutes=1))
    assert _at(ISSUED).verify(token) == principal
    assert _at(ISSUED + 59).verify(token) == principal


def test_a_token_is_over_with_its_time_and_says_so() -> None:
    token = _at(ISSUED).issue(_principal(), lifetime=timedelta(minutes=1))
    with pytest.raises(AuthenticationRequired, match="expired"):
        _at(ISSUED + 66).verify(token)


def test_clocks_may_differ_by_seconds_and_no_more() -> None:
    token = _at(ISSUED).issue(_principal(), lifetime=timedelta(minutes=1))
    assert _at(ISSUED - 5).verify(token) == _at(ISSUED + 64).verify(token)
    with pytest.raises(AuthenticationRequired):
        _at(ISSUED - 6).verify(token)


def test_no_token_is_issued_for_longer_than_the_longest() -> None:
    for lifetime in (timedelta(), timedelta(seconds=-1), LONGEST + timedelta(seconds=1)):
        with pytest.raises(ValueError, match="at most"):
            _at(ISSUED).issue(_principal(), lifetime=lifetime)
    assert _at(ISSUED).issue(_principal(), lifetime=LONGEST)


def test_the_good_token_that_the_bad_ones_are_made_from_is_good() -> None:
    tenant_id = uuid4()
    verified = SignedTokens(KEY, audience=AUDIENCE).verify(signed(claims(tenant_id)))
    assert verified.tenant_id == tenant_id


@pytest.mark.parametrize("trick", BAD)
def test_a_bad_token_is_refused_without_a_word_of_why(trick: str) -> None:
    with pytest.raises(AuthenticationRequired) as refusal:
        SignedTokens(KEY, audience=AUDIENCE).verify(BAD[trick](uuid4()))
    assert str(refusal.value) in {
        "The token has expired; get a new one.",
        "This token is not accepted here; sign in at this host.",
    }
