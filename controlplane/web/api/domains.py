"""/api/admin/tenants/{tenant_id}/domains"""

from typing import Annotated
from uuid import UUID

from litestar import Response, Router, delete, get, patch, post
from litestar.datastructures import ResponseHeader
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, JSONBody, PathParameter

from controlplane.domain.own_hosts import MAX_CHARACTERS
from controlplane.provisioning import own_domains
from controlplane.store import domains, tenants
from controlplane.web.api.bodies import require_flags
from controlplane.web.api.domain_bodies import (
    DomainBody,
    DomainChangesBody,
    DomainsBody,
    NewDomainBody,
    address_of,
    domain_body,
)
from controlplane.web.openapi import problems
from controlplane.web.request import ApiRequest, reading

OwnHost = Annotated[
    str,
    PathParameter(
        pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)+$",
        description="In lower case, other scripts as `xn--…`.",
        max_length=MAX_CHARACTERS,
    ),
]
_ADDRESS = ResponseHeader(
    name="Location", value="", description="The domain's address.", documentation_only=True
)


@post(
    "/{tenant_id:uuid}/domains",
    operation_id="addDomain",
    summary="Add a domain of a tenant's own",
    status_code=201,
    response_headers=[_ADDRESS],
    responses=problems(401, 403, 404, 409, 413, 415, 422)
    | {200: ResponseSpec(DomainBody, description="The tenant has it; it stays as it is.")},
)
async def add_domain(
    request: ApiRequest, tenant_id: FromPath[UUID], data: JSONBody[NewDomainBody]
) -> Response[DomainBody]:
    """Claim a host for an active or suspended tenant, and answer with the records that prove and lead
    it. It is served once a worker has seen the proof."""
    settings = request.parts.settings
    require_flags(await request.json(), "redirects")
    host = data.parsed(settings)
    async with request.parts.control.begin() as conn:
        domain, is_new = await own_domains.add(
            conn,
            tenant_id,
            host=host,
            redirects=data.redirects,
            at_most=settings.domains_per_tenant,
            actor=request.actor,
        )
        tenant = await tenants.get(conn, tenant_id)
    body = domain_body(domain, tenant, settings)
    headers = {"location": address_of(domain)}
    return Response(body, status_code=201 if is_new else 200, headers=headers)


@get(
    "/{tenant_id:uuid}/domains",
    operation_id="listDomains",
    summary="List a tenant's own domains",
    responses=problems(401, 403, 404, 422),
)
async def list_domains(request: ApiRequest, tenant_id: FromPath[UUID]) -> DomainsBody:
    """All of them, by name; there are never many."""
    async with reading(request.parts) as conn:
        tenant = await tenants.get(conn, tenant_id)
        found = await domains.of_tenant(conn, tenant_id)
    return DomainsBody([domain_body(each, tenant, request.parts.settings) for each in found])


@get(
    "/{tenant_id:uuid}/domains/{host:str}",
    operation_id="getDomain",
    summary="Show a tenant's own domain",
    responses=problems(401, 403, 404, 422),
)
async def get_domain(request: ApiRequest, tenant_id: FromPath[UUID], host: OwnHost) -> DomainBody:
    """How it stands, what was seen last, and which records it needs."""
    async with reading(request.parts) as conn:
        tenant = await tenants.get(conn, tenant_id)
        domain = await domains.get(conn, tenant_id, host)
    return domain_body(domain, tenant, request.parts.settings)


@patch(
    "/{tenant_id:uuid}/domains/{host:str}",
    operation_id="changeDomain",
    summary="Make a domain the primary one, or have it redirect",
    responses=problems(401, 403, 404, 409, 413, 415, 422),
)
async def change_domain(
    request: ApiRequest, tenant_id: FromPath[UUID], host: OwnHost, data: JSONBody[DomainChangesBody]
) -> DomainBody:
    """Whichever was the primary one before gives way. The primary one itself does not redirect."""
    require_flags(await request.json(), "is_primary", "redirects")
    async with request.parts.control.begin() as conn:
        domain = await own_domains.change(
            conn,
            tenant_id,
            host,
            is_primary=data.is_primary,
            redirects=data.redirects,
            actor=request.actor,
        )
        tenant = await tenants.get(conn, tenant_id)
    return domain_body(domain, tenant, request.parts.settings)


@post(
    "/{tenant_id:uuid}/domains/{host:str}/check",
    operation_id="checkDomain",
    summary="Have a domain looked at now",
    status_code=202,
    responses=problems(401, 403, 404, 409, 413, 422),
)
async def check_domain(request: ApiRequest, tenant_id: FromPath[UUID], host: OwnHost) -> DomainBody:
    """A worker looks at its DNS at once; `checked_at` is later than now once it has."""
    async with request.parts.control.begin() as conn:
        domain = await own_domains.check(conn, tenant_id, host, actor=request.actor)
        tenant = await tenants.get(conn, tenant_id)
    return domain_body(domain, tenant, request.parts.settings)


@delete(
    "/{tenant_id:uuid}/domains/{host:str}",
    operation_id="removeDomain",
    summary="Remove a tenant's own domain",
    status_code=200,
    responses=problems(401, 403, 404, 413, 422),
)
async def remove_domain(
    request: ApiRequest, tenant_id: FromPath[UUID], host: OwnHost
) -> DomainBody:
    """It is no longer served, and anybody may claim it; answers with it as it was."""
    async with request.parts.control.begin() as conn:
        domain = await own_domains.remove(conn, tenant_id, host, actor=request.actor)
        tenant = await tenants.get(conn, tenant_id)
    return domain_body(domain, tenant, request.parts.settings)


router = Router(
    path="/tenants",
    tags=["tenants"],
    route_handlers=[
        add_domain,
        list_domains,
        get_domain,
        change_domain,
        check_domain,
        remove_domain,
    ],
)
