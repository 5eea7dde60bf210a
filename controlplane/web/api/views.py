"""What the API answers."""

from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct

from controlplane.domain.mail import DeliveryState
from controlplane.domain.operations import FINISHED, OperationState, StepState
from controlplane.domain.tenants import Tenant, TenantState, Tier
from controlplane.settings import Settings
from controlplane.store.domains import Domain
from controlplane.store.operations import OperationView
from controlplane.web.api.domain_bodies import DomainBody, domain_body

OPERATIONS = "/api/admin/operations"
TENANTS = "/api/admin/tenants"


class StepBody(Struct):
    """A step of an operation. `attempt` counts its starts, `undo_attempt` its undos."""

    name: str
    state: StepState
    attempt: int
    undo_attempt: int
    error: dict[str, Any] | None
    started_at: datetime | None
    finished_at: datetime | None


class OperationBody(Struct):
    """An operation. `error` is {"code", "detail", …}, also while it is being undone."""

    id: UUID
    kind: str
    state: OperationState
    tenant_id: UUID
    steps: list[StepBody]
    error: dict[str, Any] | None
    cancel_requested: bool
    created_at: datetime
    deadline_at: datetime
    finished_at: datetime | None
    links: dict[str, str]


class OperationPage(Struct):
    items: list[OperationBody]
    next_cursor: str | None


class TenantBody(Struct):
    """A tenant. `revision` is None until its schema stands."""

    id: UUID
    name: str
    subdomain: str
    url: str
    schema_name: str
    state: TenantState
    tier: Tier
    admin_email: str
    admin_name: str | None
    revision: str | None
    version: int
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    links: dict[str, str]


class TenantPage(Struct):
    items: list[TenantBody]
    next_cursor: str | None


class ConditionBody(Struct):
    """Whether something holds of a tenant, since when and why."""

    type: str
    holds: bool
    reason: str | None
    since: datetime


class MailBody(Struct):
    """A mail to a tenant: which one and what became of it, never what it said."""

    id: UUID
    operation_id: UUID
    template: str
    recipient: str
    state: DeliveryState
    attempt: int
    error: dict[str, Any] | None
    created_at: datetime
    sent_at: datetime | None
    delivered_at: datetime | None


class TenantDetailBody(TenantBody):
    """A tenant with its conditions, its own domains, its mails and its newest operations, newest
    first. `newest_revision` is the template's, None where its files do not tell: a tenant at another
    is behind."""

    newest_revision: str | None
    conditions: list[ConditionBody]
    domains: list[DomainBody]
    mails: list[MailBody]
    operations: list[OperationBody]


def operation_body(view: OperationView) -> OperationBody:
    """An operation as it is shown."""
    address = f"{OPERATIONS}/{view.id}"
    links = {
        "self": address,
        "events": f"{address}/events",
        "tenant": f"{TENANTS}/{view.tenant_id}",
    }
    if view.state not in FINISHED:
        links["cancel"] = f"{address}/cancel"
    return OperationBody(
        id=view.id,
        kind=view.kind,
        state=view.state,
        tenant_id=view.tenant_id,
        steps=[_step(step) for step in view.steps],
        error=view.error,
        cancel_requested=view.cancel_requested,
        created_at=view.created_at,
        deadline_at=view.deadline_at,
        finished_at=view.finished_at,
        links=links,
    )


def _step(step: Any) -> StepBody:
    return StepBody(
        name=step.name,
        state=step.state,
        attempt=step.attempt,
        undo_attempt=step.undo_attempt,
        error=step.last_error,
        started_at=step.started_at,
        finished_at=step.finished_at,
    )


def tenant_body(tenant: Tenant, settings: Settings) -> TenantBody:
    """A tenant as it is shown in a list."""
    return TenantBody(**_tenant(tenant, settings))


def tenant_detail(
    tenant: Tenant,
    settings: Settings,
    *,
    newest_revision: str | None,
    domains: list[Domain],
    mails: list[dict[str, Any]],
    operations: list[OperationView],
) -> TenantDetailBody:
    """A tenant as it is shown alone."""
    return TenantDetailBody(
        **_tenant(tenant, settings),
        newest_revision=newest_revision,
        conditions=[_condition(name, entry) for name, entry in tenant.conditions.items()],
        domains=[domain_body(domain, tenant, settings) for domain in domains],
        mails=[_mail(mail) for mail in mails],
        operations=[operation_body(operation) for operation in operations],
    )


def _tenant(tenant: Tenant, settings: Settings) -> dict[str, Any]:
    address = f"{TENANTS}/{tenant.id}"
    return {
        "id": tenant.id,
        "name": tenant.name,
        "subdomain": tenant.subdomain,
        "url": settings.url_of(tenant.subdomain),
        "schema_name": tenant.schema,
        "state": tenant.state,
        "tier": tenant.tier,
        "admin_email": tenant.admin_email,
        "admin_name": tenant.admin_name,
        "revision": tenant.revision,
        "version": tenant.version,
        "metadata": tenant.metadata,
        "created_at": tenant.created_at,
        "updated_at": tenant.updated_at,
        "deleted_at": tenant.deleted_at,
        "links": {
            "self": address,
            "provision": f"{address}/provision",
            "operations": f"{OPERATIONS}?tenant_id={tenant.id}",
            "domains": f"{address}/domains",
        },
    }


def _condition(name: str, entry: Any) -> ConditionBody:
    since = datetime.fromisoformat(entry["since"])
    return ConditionBody(type=name, holds=entry["holds"], reason=entry["reason"], since=since)


def _mail(mail: dict[str, Any]) -> MailBody:
    return MailBody(
        error=mail["last_error"], **{k: v for k, v in mail.items() if k != "last_error"}
    )
