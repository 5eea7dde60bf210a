"""/api/admin/tenants"""

from typing import Annotated
from uuid import UUID

from litestar import Response, Router, delete, get, post
from litestar.datastructures import ResponseHeader
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.tenants import TenantState, Tier
from controlplane.errors import OperationNotFound, ValidationFailed
from controlplane.provisioning import requests
from controlplane.provisioning.plans import PROVISION
from controlplane.store import deliveries, domains, operations, tenants
from controlplane.store.operations import OperationView
from controlplane.tenancy.newest import newest
from controlplane.web import paging
from controlplane.web.accept import accepted, once, waited
from controlplane.web.api.bodies import NewTenantBody
from controlplane.web.api.headers import idempotency_key as parsed_key
from controlplane.web.api.headers import preferred_wait_s
from controlplane.web.api.parameters import Cursor, IdempotencyKey, Limit, Prefer
from controlplane.web.api.views import (
    OperationBody,
    TenantDetailBody,
    TenantPage,
    operation_body,
    tenant_body,
    tenant_detail,
)
from controlplane.web.openapi import LOCATION, problems
from controlplane.web.request import ApiRequest, reading
from controlplane.web.watch import ended
from controlplane.wiring import warm_recipe

_NEWEST = 10

# `state` as a parameter's name is Litestar's own.
InState = Annotated[TenantState | None, QueryParameter(name="state")]
Search = Annotated[
    str | None,
    QueryParameter(
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00]*$",
        description="Looked for in name and subdomain, upper and lower case alike.",
    ),
]
OfSubdomain = Annotated[
    str | None,
    QueryParameter(
        min_length=1,
        max_length=63,
        pattern=r"^[^\x00]*$",
        description="The whole subdomain, in lower case.",
    ),
]


@post(
    "/",
    operation_id="createTenant",
    summary="Create a tenant",
    status_code=202,
    response_headers=[LOCATION],
    responses=problems(401, 403, 409, 413, 415, 422)
    | {201: ResponseSpec(OperationBody, description="Made within the time of `Prefer: wait=N`.")},
)
async def create_tenant(
    request: ApiRequest,
    data: JSONBody[NewTenantBody],
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> Response[OperationBody]:
    """Accept a tenant and answer with the operation that makes it."""
    wanted, actor, parts = data.parsed(), request.actor, request.parts
    deadline_s = parts.settings.operation_deadline_s
    pooled = parts.settings.warm_pool_size > 0
    recipe = warm_recipe(parts.settings, parts.template) if pooled else None

    async def ask(conn: AsyncConnection) -> OperationView:
        return await requests.create_tenant(
            conn, wanted, actor=actor, deadline_s=deadline_s, recipe=recipe
        )

    view = await once(request, parsed_key(idempotency_key), ask)
    wait_s = preferred_wait_s(prefer)
    if wait_s is None:
        return accepted(view)
    return waited(await ended(parts, request.hub, view, wait_s), wait_s)


@get(
    "/",
    operation_id="listTenants",
    summary="List tenants",
    responses=problems(401, 403, 422),
)
async def list_tenants(
    request: ApiRequest,
    *,
    limit: Limit = paging.USUAL,
    cursor: Cursor = None,
    in_state: InState = None,
    tier: FromQuery[Tier | None] = None,
    q: Search = None,
    subdomain: OfSubdomain = None,
    include_deleted: FromQuery[bool] = False,
) -> TenantPage:
    """Tenants, newest first. Deleted ones are left out unless asked for."""
    if "\0" in (q or "") + (subdomain or ""):
        raise ValidationFailed("q, subdomain: The character NUL is in no name.")
    async with reading(request.parts) as conn:
        found = await tenants.page(
            conn,
            limit=limit + 1,
            after=paging.decode_cursor(cursor) if cursor is not None else None,
            state=in_state,
            tier=tier,
            text=q,
            subdomain=subdomain,
            include_deleted=include_deleted,
        )
    page, next_cursor = paging.cut(found, limit)
    settings = request.parts.settings
    return TenantPage([tenant_body(tenant, settings) for tenant in page], next_cursor)


@get(
    "/{tenant_id:uuid}",
    operation_id="getTenant",
    summary="Show a tenant",
    response_headers=[
        ResponseHeader(
            name="ETag", value="", description="The row's version.", documentation_only=True
        )
    ],
    responses=problems(401, 403, 404, 422),
)
async def get_tenant(request: ApiRequest, tenant_id: FromPath[UUID]) -> Response[TenantDetailBody]:
    """A tenant with its conditions, its own domains, its mails and its newest operations."""
    async with reading(request.parts) as conn:
        return await shown(request, conn, tenant_id)


async def shown(
    request: ApiRequest, conn: AsyncConnection, tenant_id: UUID
) -> Response[TenantDetailBody]:
    """The answer that shows a tenant alone. Raises TenantNotFound."""
    tenant = await tenants.get(conn, tenant_id)
    body = tenant_detail(
        tenant,
        request.parts.settings,
        newest_revision=newest(request.parts.template),
        domains=await domains.of_tenant(conn, tenant_id),
        mails=await deliveries.of_tenant(conn, tenant_id),
        operations=await operations.page(conn, limit=_NEWEST, tenant_id=tenant_id),
    )
    return Response(body, headers={"etag": f'"{tenant.version}"'}, status_code=200)


@delete(
    "/{tenant_id:uuid}",
    operation_id="deleteTenant",
    summary="Delete a tenant, softly",
    status_code=202,
    response_headers=[LOCATION],
    responses=problems(401, 403, 404, 409, 422),
)
async def delete_tenant(request: ApiRequest, tenant_id: FromPath[UUID]) -> Response[OperationBody]:
    """Refuse the tenant's host from now on and remove its record; its data is kept for the grace
    period. Deleting again answers with the same operation."""
    deadline_s = request.parts.settings.operation_deadline_s
    async with request.parts.control.begin() as conn:
        view = await requests.delete_tenant(
            conn, tenant_id, actor=request.actor, deadline_s=deadline_s
        )
    return accepted(view)


@get(
    "/{tenant_id:uuid}/provision",
    operation_id="getProvision",
    summary="Show how a tenant's provisioning goes",
    responses=problems(401, 403, 404, 422),
)
async def get_provision(request: ApiRequest, tenant_id: FromPath[UUID]) -> OperationBody:
    """The tenant's newest provision operation."""
    async with reading(request.parts) as conn:
        tenant = await tenants.get(conn, tenant_id)
        found = await operations.page(conn, limit=1, tenant_id=tenant.id, kind=PROVISION.kind)
    if not found:
        raise OperationNotFound(f"The tenant {tenant_id} was never provisioned.")
    return operation_body(found[0])


router = Router(
    path="/tenants",
    tags=["tenants"],
    route_handlers=[
        create_tenant,
        list_tenants,
        get_tenant,
        delete_tenant,
        get_provision,
    ],
)
