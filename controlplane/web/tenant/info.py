"""GET /api/tenant/info"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from litestar import get
from litestar.di import NamedDependency
from msgspec import UNSET, Struct, UnsetType

from controlplane.domain import tenant_settings
from controlplane.domain.tenants import TenantState
from controlplane.tenancy import kept_settings
from controlplane.web.openapi import MAYBE_TENANT_BEARER, problems
from controlplane.web.tenant.context import TenantContext, TenantRequest


class Branding(Struct):
    """How the tenant wants to look. `support_email` is told to members only."""

    display_name: str
    logo_url: str | None
    primary_color: str
    accent_color: str | None
    support_email: str | UnsetType | None = UNSET


class TenantInfo(Struct):
    """What anybody may know of a tenant; `tier` and `branding.support_email` are its members'."""

    id: UUID
    name: str
    subdomain: str
    state: TenantState
    branding: Branding
    tier: str | UnsetType = UNSET


@get(
    "/info",
    operation_id="getTenantInfo",
    summary="Whose host this is",
    security=MAYBE_TENANT_BEARER,
    responses=problems(401, 403, 404, 429),
)
async def tenant_info(
    request: TenantRequest, context: NamedDependency[TenantContext]
) -> TenantInfo:
    """The tenant of this host and how it wants to look. With a token of one of its members, also
    what is told to members only."""
    tenant, member = context.tenant, context.principal is not None
    async with request.tenancy.transaction(tenant) as conn:
        rows = await kept_settings.read(conn, tenant_settings.BRANDING)
    return TenantInfo(
        id=tenant.id,
        name=tenant.name,
        subdomain=tenant.subdomain,
        state=tenant.state,
        branding=_branding(tenant_settings.plain(rows), name=tenant.name, member=member),
        tier=tenant.tier if member else UNSET,
    )


def _branding(values: Mapping[str, Any], *, name: str, member: bool) -> Branding:
    return Branding(
        display_name=values["branding.display_name"] or name,
        logo_url=values["branding.logo_url"] or None,
        primary_color=values["branding.primary_color"],
        accent_color=values["branding.accent_color"] or None,
        support_email=(values["branding.support_email"] or None) if member else UNSET,
    )
