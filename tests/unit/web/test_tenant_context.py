"""Handlers on tenants' hosts get their context by its type; a test gives them one of its own."""

import dataclasses
from typing import Any
from uuid import uuid4

import pytest
from litestar import get
from litestar.di import NamedDependency, Provide
from litestar.testing import create_test_client

from controlplane.domain.principals import Principal, PrincipalKind
from controlplane.domain.tenants import TenantState
from controlplane.errors import AuthenticationRequired
from controlplane.routing import RoutedTenant
from controlplane.web.tenant.context import TenantContext

TENANT = RoutedTenant(uuid4(), "acme", "Acme", TenantState.ACTIVE, "starter", None)
ADA = Principal(uuid4(), TENANT.id, frozenset({"user"}), PrincipalKind.USER)


def _context(principal: Principal | None) -> TenantContext:
    return TenantContext(TENANT, principal, ip=None, request_id="1")


@get("/who")
async def who(context: NamedDependency[TenantContext]) -> dict[str, str]:
    return {"tenant": context.tenant.name, "who": str(context.member.id)}


def test_a_handler_takes_the_context_that_a_test_provides() -> None:
    async def fake() -> TenantContext:
        return _context(ADA)

    with create_test_client([who], dependencies={"context": Provide(fake)}) as client:
        assert client.get("/who").json() == {"tenant": "Acme", "who": str(ADA.id)}


def test_a_context_does_not_change() -> None:
    changed: Any = {"principal": None}
    for made, field in ((_context(ADA), "principal"), (TENANT, "id"), (ADA, "roles")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, field, changed)


def test_nobody_is_no_member() -> None:
    with pytest.raises(AuthenticationRequired):
        _ = _context(None).member
    assert _context(ADA).member == ADA
