"""/api/admin/drift: which tenants' schemas are not what the template makes, as a worker saw it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from litestar import Router, get
from litestar.params import FromQuery
from msgspec import Struct

from controlplane.store import structure_looks
from controlplane.web import paging
from controlplane.web.api.parameters import Limit
from controlplane.web.auth import super_admins_only
from controlplane.web.openapi import problems
from controlplane.web.request import ApiRequest, reading


class DifferenceBody(Struct):
    """`expected` is null for what the template does not make, `found` for what is missing."""

    kind: str
    on: str
    name: str
    expected: str | None
    found: str | None


class DriftedBody(Struct):
    """A tenant whose schema differs though it is at the template's revision; at most 50 of its
    differences."""

    tenant_id: UUID
    subdomain: str
    state: str
    first_seen_at: datetime
    differences: list[DifferenceBody]


class DriftPage(Struct):
    """`looked_at` and what follows it are null before the first look. `compared` tenants were at
    `revision`, `behind` at another; `drifted` of them differ, of which 200 are kept. By tenant id;
    `next_after` is the `after` of the next page."""

    looked_at: datetime | None
    age_seconds: float | None
    revision: str | None
    compared: int
    behind: int
    drifted: int
    items: list[DriftedBody]
    next_after: UUID | None


@get(
    "/drift",
    operation_id="listDrift",
    summary="List tenants whose schema differs",
    tags=["findings"],
    guards=[super_admins_only],
    responses=problems(401, 403, 422),
)
async def list_drift(
    request: ApiRequest, limit: Limit = paging.USUAL, after: FromQuery[UUID | None] = None
) -> DriftPage:
    """What a worker saw when it compared tenants' schemas with its release's template last. Nothing is
    looked at or changed."""
    async with reading(request.parts) as conn:
        look = await structure_looks.newest(conn)
        found = await structure_looks.page(conn, limit=limit + 1, after=after)
    page = found[:limit]
    return DriftPage(
        looked_at=look.looked_at if look else None,
        age_seconds=look.age_s if look else None,
        revision=look.revision if look else None,
        compared=look.compared if look else 0,
        behind=look.behind if look else 0,
        drifted=look.drifted if look else 0,
        items=[
            DriftedBody(
                one.tenant_id, one.subdomain, one.state, one.first_seen_at, _shown(one.differences)
            )
            for one in page
        ],
        next_after=page[-1].tenant_id if len(found) > limit else None,
    )


def _shown(differences: list[dict[str, Any]]) -> list[DifferenceBody]:
    return [DifferenceBody(**each) for each in differences]


router = Router(path="/", route_handlers=[list_drift])
