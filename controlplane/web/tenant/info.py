"""GET /api/tenant/info"""

from typing import Any, Self
from uuid import UUID

from litestar import Request, get
from litestar.datastructures import State
from msgspec import Struct

from controlplane.domain.tenants import TenantState
from controlplane.routing import RoutedTenant
from controlplane.web.openapi import problems
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
    responses=problems(403, 404, 429),
)
async def tenant_info(request: Request[Any, Any, State]) -> TenantInfo:
    """The tenant of this host, once its schema has been entered as its role."""
    tenant: RoutedTenant = request.scope["state"]["tenant"]
    parts: Parts = request.app.state.parts
    async with parts.tenancy.transaction(tenant):
        return TenantInfo.of(tenant)
