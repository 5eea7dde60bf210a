"""Tenants that stay at their revision: /api/admin/tenants/{tenant_id}/freeze"""

from uuid import UUID

from litestar import Response, Router, post
from litestar.params import FromPath, JSONBody

from controlplane.fleet import freezing
from controlplane.web.api.bodies import FreezeBody
from controlplane.web.api.tenants import shown
from controlplane.web.api.views import TenantDetailBody
from controlplane.web.openapi import problems
from controlplane.web.request import ApiRequest


@post(
    "/{tenant_id:uuid}/freeze",
    operation_id="freezeTenant",
    summary="Keep a tenant at its revision",
    status_code=200,
    responses=problems(401, 403, 404, 409, 413, 415, 422),
)
async def freeze_tenant(
    request: ApiRequest, tenant_id: FromPath[UUID], data: JSONBody[FreezeBody]
) -> Response[TenantDetailBody]:
    """Rollouts skip the tenant from now on, and a repair leaves its revision alone. Its condition
    `Frozen` says since when and why. App servers that do not serve its revision refuse it."""
    async with request.parts.control.begin() as conn:
        await freezing.freeze(conn, tenant_id, data.parsed(), actor=request.actor)
        return await shown(request, conn, tenant_id)


@post(
    "/{tenant_id:uuid}/unfreeze",
    operation_id="unfreezeTenant",
    summary="Have rollouts take a tenant along again",
    status_code=200,
    responses=problems(401, 403, 404, 413, 422),
)
async def unfreeze_tenant(
    request: ApiRequest, tenant_id: FromPath[UUID]
) -> Response[TenantDetailBody]:
    """The next rollout upgrades it. Of a tenant that is not frozen nothing changes."""
    async with request.parts.control.begin() as conn:
        await freezing.unfreeze(conn, tenant_id, actor=request.actor)
        return await shown(request, conn, tenant_id)


router = Router(path="/tenants", tags=["tenants"], route_handlers=[freeze_tenant, unfreeze_tenant])
