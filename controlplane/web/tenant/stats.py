"""GET /api/tenant/stats"""

from litestar import get
from litestar.di import NamedDependency
from msgspec import UNSET, Struct, UnsetType

from controlplane.domain.principals import TenantRole
from controlplane.tenancy.tallies import tallies
from controlplane.web.openapi import TENANT_BEARER, problems
from controlplane.web.tenant.context import TenantContext, TenantRequest, members_only


class Count(Struct):
    """How many. `estimated`: too many to be counted, so by the database's statistics."""

    number: int
    estimated: bool


class TenantStats(Struct):
    """How much there is of what. `sessions` are live ones, `pending_registrations` wait for
    approval; `documents` and `storage_bytes` are there where the tenant's template has them."""

    users: Count
    api_clients: Count
    sessions: Count
    pending_registrations: Count
    documents: Count | UnsetType = UNSET
    storage_bytes: Count | UnsetType = UNSET


@get(
    "/stats",
    operation_id="getTenantStats",
    summary="Count what the tenant has",
    guards=[members_only(TenantRole.ADMIN, TenantRole.MANAGER)],
    security=TENANT_BEARER,
    responses=problems(401, 403, 404, 429),
)
async def get_stats(request: TenantRequest, context: NamedDependency[TenantContext]) -> TenantStats:
    """How many users, clients, sessions, sign-ups and documents there are at this moment."""
    async with request.tenancy.transaction(context.tenant) as conn:
        found = await tallies(conn)
    counts = {name: Count(tally.number, tally.estimated) for name, tally in found.items()}
    return TenantStats(**counts)
