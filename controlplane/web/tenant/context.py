"""What a handler on a tenant's host learns of its request, and the guards in front of it."""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler

from controlplane.domain.principals import Principal, TenantRole
from controlplane.errors import AuthenticationRequired, PermissionDenied
from controlplane.routing import RoutedTenant, Tenancy
from controlplane.web.asgi import exchange_of
from controlplane.web.request import JsonRequest
from controlplane.web.tenant.principals import PRINCIPAL, REFUSAL

Connection = ASGIConnection[Any, Any, Any, Any]
Guard = Callable[[Connection, BaseRouteHandler], None]


class TenantRequest(JsonRequest[Any]):
    """A request on a tenant's host; who speaks stands in its TenantContext."""

    @property
    def tenancy(self) -> Tenancy:
        """Transactions of the tenant, of which it has a share."""
        tenancy: Tenancy = self.app.state.tenancy
        return tenancy


@dataclass(frozen=True)
class TenantContext:
    """Whose host it is, who speaks there (None: nobody that is known), and from where.

    A handler gets it as its parameter `context: NamedDependency[TenantContext]`.
    """

    tenant: RoutedTenant
    principal: Principal | None
    ip: str | None
    request_id: str

    @property
    def member(self) -> Principal:
        """Who speaks, behind a guard that lets nobody else in. Raises AuthenticationRequired."""
        if self.principal is None:
            raise _unknown()
        return self.principal


async def tenant_context(request: Request[Any, Any, State]) -> TenantContext:
    """What the layers outside have found out."""
    state = request.scope["state"]
    return TenantContext(
        tenant=state["tenant"],
        principal=state[PRINCIPAL],
        ip=_address(request),
        request_id=exchange_of(request.scope).request_id,
    )


def _address(connection: Connection) -> str | None:
    """The column is of PostgreSQL's type for addresses; behind a socket file there is none."""
    host = connection.client.host if connection.client else ""
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return None


def no_bad_tokens(connection: Connection, _: BaseRouteHandler) -> None:
    """A guard, also of what is public: whoever sends a token means to be known by it. Raises
    AuthenticationRequired."""
    refusal: AuthenticationRequired | None = connection.scope["state"][REFUSAL]
    if refusal is not None:
        raise refusal


def members_only(*roles: TenantRole) -> Guard:
    """A guard that lets principals with one of the roles in; after `no_bad_tokens`. It raises
    AuthenticationRequired or PermissionDenied."""

    def guard(connection: Connection, _: BaseRouteHandler) -> None:
        principal: Principal | None = connection.scope["state"][PRINCIPAL]
        if principal is None:
            raise _unknown()
        if not principal.roles & set(roles):
            needed = " or ".join(roles)
            raise PermissionDenied(f"This needs the role {needed} in this tenant.")

    return guard


def _unknown() -> AuthenticationRequired:
    return AuthenticationRequired(
        "Send 'Authorization: Bearer <token>' with a token of this host's tenant."
    )
