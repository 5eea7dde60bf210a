"""/api/admin/subdomain-holds/{subdomain}"""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from litestar import Router, delete, get
from litestar.params import PathParameter
from msgspec import Struct

from controlplane.domain.naming import Subdomain
from controlplane.domain.tenants import HoldReason
from controlplane.provisioning.quarantine import release_name
from controlplane.store import holds
from controlplane.store.holds import Hold
from controlplane.web.auth import super_admins_only
from controlplane.web.openapi import problems
from controlplane.web.request import ApiRequest, reading

Held = Annotated[
    str,
    PathParameter(
        pattern=r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", description="In lower case.", max_length=63
    ),
]


class HoldBody(Struct):
    """Why nobody but this tenant may claim the name, and until when; a rename's hold ends with its
    operation."""

    why: HoldReason
    tenant_id: UUID
    since: datetime
    until: datetime | None


class HoldsBody(Struct):
    """What keeps others from claiming a name that no tenant has."""

    subdomain: str
    holds: list[HoldBody]


@get(
    "/{subdomain:str}",
    operation_id="getSubdomainHolds",
    summary="Show why a subdomain is held",
    responses=problems(401, 403, 404, 422),
)
async def get_holds(request: ApiRequest, subdomain: Held) -> HoldsBody:
    """What keeps others from claiming a name: an empty list if nothing does, or if a tenant has it."""
    async with reading(request.parts) as conn:
        return _shown(subdomain, await holds.of(conn, Subdomain(subdomain)))


@delete(
    "/{subdomain:str}",
    operation_id="releaseSubdomain",
    summary="Give a held subdomain free",
    status_code=200,
    guards=[super_admins_only],
    responses=problems(401, 403, 404, 409, 413, 422),
)
async def release_subdomain(request: ApiRequest, subdomain: Held) -> HoldsBody:
    """End a quarantine before its time, and answer with what was ended. Needs the role
    `super_admin`: whoever claims the name gets the visitors of the tenant that had it."""
    async with request.parts.control.begin() as conn:
        ended = await release_name(conn, Subdomain(subdomain), actor=request.actor)
    return _shown(subdomain, ended)


def _shown(subdomain: str, found: list[Hold]) -> HoldsBody:
    held = [HoldBody(h.why, h.tenant_id, h.created_at, h.until) for h in found]
    return HoldsBody(subdomain, held)


router = Router(
    path="/subdomain-holds", tags=["tenants"], route_handlers=[get_holds, release_subdomain]
)
