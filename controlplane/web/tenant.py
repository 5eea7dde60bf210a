"""What is served on a tenant's host."""

from typing import Any, Self
from uuid import UUID

from litestar import Litestar, Request, Router, get
from litestar.datastructures import State
from msgspec import Struct

from controlplane.domain.tenants import TenantState
from controlplane.routing import RoutedTenant, TenantMiddleware
from controlplane.web.asgi import ASGIApp, templated
from controlplane.web.openapi import problems
from controlplane.web.options import answering_options
from controlplane.web.problems import handlers as exception_handlers
from controlplane.wiring import Parts


class TenantInfo(Struct):
    """What anybody may know of a tenant."""

    id: UUID
    name: str
    subdomain: str
    state: TenantState
    tier: str

    @classmethod
    def of(cls, tenant: RoutedTenant) -> Self:
        return cls(tenant.id, tenant.name, tenant.subdomain, tenant.state, tenant.tier)


@get(
    "/info",
    operation_id="getTenantInfo",
    summary="Whose host this is",
    responses=problems(403, 404),
)
async def tenant_info(request: Request[Any, Any, State]) -> TenantInfo:
    """The tenant of this host, once its schema has been entered as its role."""
    tenant: RoutedTenant = request.scope["state"]["tenant"]
    parts: Parts = request.app.state.parts
    async with parts.tenancy.transaction(tenant):
        return TenantInfo.of(tenant)


router = Router(path="/api/tenant", tags=["tenant"], route_handlers=[tenant_info])


def tenant_app(parts: Parts) -> ASGIApp:
    """The application of tenant hosts, behind the middleware that lets active tenants in."""
    app = Litestar(
        [router],
        openapi_config=None,
        logging_config=None,
        exception_handlers=exception_handlers(),
        state=State({"parts": parts}),
    )
    return TenantMiddleware(
        answering_options(templated(app)),
        directory=parts.directory,
        base_domain=parts.settings.base_domain,
    )
