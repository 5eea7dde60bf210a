"""What may be asked of a tenant that exists: /api/admin/tenants/{tenant_id}/…"""

from datetime import timedelta
from functools import partial
from typing import Protocol
from uuid import UUID

from litestar import Response, Router, post, put
from litestar.params import FromPath, JSONBody
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.tenants import TenantState
from controlplane.provisioning import lifecycle, requests
from controlplane.store import tenants
from controlplane.store.audit import Actor
from controlplane.store.operations import OperationView
from controlplane.web.accept import accepted, once
from controlplane.web.api.bodies import PurgeBody, RenameBody, require_flags
from controlplane.web.api.headers import idempotency_key as parsed_key
from controlplane.web.api.parameters import IdempotencyKey
from controlplane.web.api.views import OperationBody
from controlplane.web.auth import super_admins_only
from controlplane.web.openapi import LOCATION, problems
from controlplane.web.request import ApiRequest

_PROBLEMS = (401, 403, 404, 409, 413, 422)
_SERVED = frozenset({TenantState.ACTIVE, TenantState.SUSPENDED})


class Change(Protocol):
    """A request of `provisioning`, of a tenant that exists."""

    async def __call__(
        self, conn: AsyncConnection, tenant_id: UUID, /, *, actor: Actor, deadline_s: float
    ) -> OperationView: ...


@post(
    "/{tenant_id:uuid}/provision",
    operation_id="provisionTenant",
    summary="Provision a failed tenant again, or repair one",
    status_code=202,
    response_headers=[LOCATION],
    responses=problems(*_PROBLEMS),
)
async def provision_tenant(
    request: ApiRequest, tenant_id: FromPath[UUID], idempotency_key: IdempotencyKey = None
) -> Response[OperationBody]:
    """A new attempt for a tenant whose provisioning failed; it claims its subdomain again. Of an
    active or suspended tenant, what is missing is put back and its data left alone."""
    return await _start(request, tenant_id, idempotency_key, _provision_or_repair)


async def _provision_or_repair(
    conn: AsyncConnection, tenant_id: UUID, /, *, actor: Actor, deadline_s: float
) -> OperationView:
    tenant = await tenants.get(conn, tenant_id, lock=True)
    change = lifecycle.repair if tenant.state in _SERVED else requests.provision_again
    return await change(conn, tenant_id, actor=actor, deadline_s=deadline_s)


@post(
    "/{tenant_id:uuid}/suspend",
    operation_id="suspendTenant",
    summary="Suspend a tenant",
    status_code=202,
    response_headers=[LOCATION],
    responses=problems(*_PROBLEMS),
)
async def suspend_tenant(
    request: ApiRequest, tenant_id: FromPath[UUID], idempotency_key: IdempotencyKey = None
) -> Response[OperationBody]:
    """Refuse an active tenant's host with 403; its data stays as it is."""
    return await _start(request, tenant_id, idempotency_key, lifecycle.suspend)


@post(
    "/{tenant_id:uuid}/resume",
    operation_id="resumeTenant",
    summary="Resume a suspended tenant",
    status_code=202,
    response_headers=[LOCATION],
    responses=problems(*_PROBLEMS),
)
async def resume_tenant(
    request: ApiRequest, tenant_id: FromPath[UUID], idempotency_key: IdempotencyKey = None
) -> Response[OperationBody]:
    """Serve a suspended tenant again, once it was looked at as an app server would."""
    return await _start(request, tenant_id, idempotency_key, lifecycle.resume)


@post(
    "/{tenant_id:uuid}/restore",
    operation_id="restoreTenant",
    summary="Restore a deleted tenant",
    status_code=202,
    response_headers=[LOCATION],
    responses=problems(*_PROBLEMS),
)
async def restore_tenant(
    request: ApiRequest, tenant_id: FromPath[UUID], idempotency_key: IdempotencyKey = None
) -> Response[OperationBody]:
    """Bring a deleted tenant back, with all its data, while its grace period lasts."""
    change = partial(lifecycle.restore, grace=_grace(request))
    return await _start(request, tenant_id, idempotency_key, change)


@post(
    "/{tenant_id:uuid}/purge",
    operation_id="purgeTenant",
    summary="Purge a deleted tenant",
    status_code=202,
    guards=[super_admins_only],
    response_headers=[LOCATION],
    responses=problems(*_PROBLEMS, 415),
)
async def purge_tenant(
    request: ApiRequest,
    tenant_id: FromPath[UUID],
    data: JSONBody[PurgeBody],
    idempotency_key: IdempotencyKey = None,
) -> Response[OperationBody]:
    """Destroy a deleted tenant's data for good, after its grace period unless that is skipped.
    Needs the role `super_admin`. There is no way back."""
    require_flags(await request.json(), "skip_grace")
    change = partial(
        lifecycle.purge,
        confirm=data.confirm,
        skip_grace=data.skip_grace,
        grace=_grace(request),
    )
    return await _start(request, tenant_id, idempotency_key, change)


@put(
    "/{tenant_id:uuid}/subdomain",
    operation_id="renameTenant",
    summary="Change a tenant's subdomain",
    status_code=202,
    response_headers=[LOCATION],
    responses=problems(*_PROBLEMS, 415),
)
async def rename_tenant(
    request: ApiRequest,
    tenant_id: FromPath[UUID],
    data: JSONBody[RenameBody],
    idempotency_key: IdempotencyKey = None,
) -> Response[OperationBody]:
    """Lead another subdomain to an active or suspended tenant. Nobody else can claim it from now
    on; the old one is served until the new one's record is there, then it leads nowhere, and is
    kept from others for the quarantine."""
    change = partial(lifecycle.rename, subdomain=data.parsed())
    return await _start(request, tenant_id, idempotency_key, change)


@post(
    "/{tenant_id:uuid}/welcome-email",
    operation_id="resendWelcome",
    summary="Send the welcome mail again",
    status_code=202,
    response_headers=[LOCATION],
    responses=problems(*_PROBLEMS),
)
async def resend_welcome(
    request: ApiRequest, tenant_id: FromPath[UUID], idempotency_key: IdempotencyKey = None
) -> Response[OperationBody]:
    """Send the welcome mail once more, with a new link; earlier links end with it."""
    return await _start(request, tenant_id, idempotency_key, lifecycle.resend_welcome)


def _grace(request: ApiRequest) -> timedelta:
    return timedelta(days=request.parts.settings.grace_days)


async def _start(
    request: ApiRequest, tenant_id: UUID, key: str | None, change: Change
) -> Response[OperationBody]:
    actor, deadline_s = request.actor, request.parts.settings.operation_deadline_s

    async def ask(conn: AsyncConnection) -> OperationView:
        return await change(conn, tenant_id, actor=actor, deadline_s=deadline_s)

    return accepted(await once(request, parsed_key(key), ask))


router = Router(
    path="/tenants",
    tags=["tenants"],
    route_handlers=[
        provision_tenant,
        suspend_tenant,
        resume_tenant,
        restore_tenant,
        purge_tenant,
        rename_tenant,
        resend_welcome,
    ],
)
