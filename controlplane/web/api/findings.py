"""/api/admin/findings: what does not fit together, as a worker's newest look found it."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from litestar import Router, get, post
from litestar.params import QueryParameter
from msgspec import Struct

from controlplane.domain.drift import REMEDIES, Kind
from controlplane.errors import InvalidState
from controlplane.provisioning import reconcile
from controlplane.store import audit, findings
from controlplane.store.findings import SeenFinding
from controlplane.web import paging
from controlplane.web.api.parameters import Cursor, Limit
from controlplane.web.auth import super_admins_only
from controlplane.web.openapi import problems
from controlplane.web.request import ApiRequest, reading

# So many are entered well within a request's time.
_AT_MOST = 100

OfKind = Annotated[Kind | None, QueryParameter(name="kind")]


class FindingBody(Struct):
    """One thing that does not fit. `subject` is a schema's, role's or record's name, a subdomain
    or an operation's id; `remedy` says what sets it right."""

    kind: Kind
    subject: str
    tenant_id: UUID
    detail: str
    remedy: str
    first_seen_at: datetime


class FindingPage(Struct):
    """`looked_at` and `age_seconds` say how old all of it is; None before the first look."""

    looked_at: datetime | None
    age_seconds: float | None
    items: list[FindingBody]
    next_cursor: str | None


class RepairBody(Struct):
    """The operations that have begun, one for each tenant, by the look of `looked_at`."""

    looked_at: datetime
    age_seconds: float
    operations: list[UUID]


@get(
    "/",
    operation_id="listFindings",
    summary="List what does not fit together",
    responses=problems(401, 403, 422),
)
async def list_findings(
    request: ApiRequest,
    limit: Limit = paging.USUAL,
    cursor: Cursor = None,
    kind: OfKind = None,
) -> FindingPage:
    """What the newest look of a worker found, newest first. Nothing is looked at or changed."""
    after = paging.decode_cursor(cursor) if cursor is not None else None
    async with reading(request.parts) as conn:
        look = await findings.newest_look(conn)
        found = await findings.page(conn, limit=limit + 1, after=after, kind=kind)
    page, next_cursor = paging.cut(found, limit)
    looked_at, age_s = (look.looked_at, look.age_s) if look else (None, None)
    return FindingPage(looked_at, age_s, [_body(seen) for seen in page], next_cursor)


@post(
    "/repair",
    operation_id="repairFindings",
    summary="Have operations set right what they can",
    status_code=202,
    responses=problems(401, 403, 409, 413, 422),
)
async def repair_findings(request: ApiRequest) -> RepairBody:
    """Begin an operation for each tenant with something that a repair can set right, for at most
    100 at once. A tenant that has had an operation since the look is left alone, so asking twice
    is asking once."""
    async with request.parts.control.begin() as conn:
        look = await findings.newest_look(conn)
        if look is None:
            raise InvalidState("No worker has looked yet; start one, and ask again in a minute.")
        begun = await reconcile.repair(
            conn,
            await findings.current(conn),
            actor=request.actor,
            deadline_s=request.parts.settings.operation_deadline_s,
            at_most=_AT_MOST,
        )
        told = {"operations": [str(operation_id) for operation_id in begun]}
        await audit.write(conn, request.actor, "findings.repair", after=told)
    return RepairBody(look.looked_at, look.age_s, begun)


def _body(seen: SeenFinding) -> FindingBody:
    finding = seen.finding
    return FindingBody(
        kind=finding.kind,
        subject=finding.subject,
        tenant_id=finding.tenant_id,
        detail=finding.detail,
        remedy=REMEDIES[finding.kind],
        first_seen_at=seen.first_seen_at,
    )


router = Router(
    path="/findings",
    tags=["findings"],
    guards=[super_admins_only],
    route_handlers=[list_findings, repair_findings],
)
