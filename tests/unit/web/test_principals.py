"""Who speaks: what the layer inside the routing layer leaves for those further in."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from controlplane.domain.principals import Principal, PrincipalKind
from controlplane.domain.tenants import TenantState
from controlplane.errors import AuthenticationRequired
from controlplane.identity.tokens import NoTokens, SignedTokens
from controlplane.ports import PrincipalVerifier
from controlplane.routing import Asked, RoutedTenant
from controlplane.web.tenant.principals import Principals, spoken_for

pytestmark = pytest.mark.anyio

ACME, GLOBEX = uuid4(), uuid4()
TOKENS = SignedTokens(b"a key of the tests, long enough!", audience="apps.example.test")


def _principal(tenant_id: UUID) -> Principal:
    return Principal(uuid4(), tenant_id, frozenset({"user"}), PrincipalKind.USER)


def _token(principal: Principal) -> str:
    return TOKENS.issue(principal, lifetime=timedelta(minutes=5))


async def _state(*authorization: str, verifier: PrincipalVerifier = TOKENS) -> dict[str, Any]:
    """What the layer's app finds in a request on Acme's host."""
    found: dict[str, Any] = {}

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        found.update(scope["state"])

    tenant = RoutedTenant(ACME, "acme", "Acme", TenantState.ACTIVE, "starter", None)
    headers = [(b"authorization", value.encode()) for value in authorization]
    scope = {"type": "http", "headers": headers, "state": {"tenant": tenant, "request_id": "1"}}
    await Principals(app, verifier=verifier)(scope, None, None)  # type: ignore[arg-type]  # unused
    assert found["request_id"] == "1"
    return found


async def test_a_good_token_is_its_principals() -> None:
    ada = _principal(ACME)
    state = await _state(f"Bearer {_token(ada)}")
    assert (state["principal"], state["refusal"]) == (ada, None)


async def test_without_a_bearer_token_nobody_speaks() -> None:
    good = _token(_principal(ACME))
    for given in ([], ["Basic YTpi"], [good], ["Bearer "], [f"Bearer {good}", f"Bearer {good}"]):
        state = await _state(*given)
        assert (state["principal"], state["refusal"]) == (None, None)


async def test_a_bad_token_is_nobodys_and_its_refusal_is_left_to_those_further_in() -> None:
    state = await _state("Bearer nonsense")
    assert state["principal"] is None
    assert isinstance(state["refusal"], AuthenticationRequired)


async def test_a_token_of_another_tenant_makes_no_principal_here() -> None:
    state = await _state(f"Bearer {_token(_principal(GLOBEX))}")
    assert state["principal"] is None
    assert isinstance(state["refusal"], AuthenticationRequired)


async def test_without_a_key_every_token_is_refused_and_what_is_missing_is_named() -> None:
    state = await _state(f"Bearer {_token(_principal(ACME))}", verifier=NoTokens())
    assert state["principal"] is None
    assert "CONTROLPLANE_TENANT_TOKEN_KEY" in str(state["refusal"])


def test_only_a_good_token_claims_a_tenant() -> None:
    claimed = spoken_for(TOKENS)

    def asked(*authorization: str) -> Asked:
        headers = [(b"Authorization", value.encode()) for value in authorization]
        return Asked("acme.apps.example.test", "/", headers, None)

    good = f"Bearer {_token(_principal(GLOBEX))}"
    assert claimed(asked(good)) == GLOBEX
    for given in ([], ["Bearer nonsense"], [f"{good}x"], [good, good]):
        assert claimed(asked(*given)) is None
