"""A tenant, its states and what may follow on what. Pure."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from controlplane.domain.naming import SchemaName, Subdomain, schema_name


class TenantState(StrEnum):
    PROVISIONING = "provisioning"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETING = "deleting"
    DELETED = "deleted"
    PURGING = "purging"
    PURGED = "purged"
    FAILED = "failed"


class Tier(StrEnum):
    STARTER = "starter"
    PROFESSIONAL = "professional"
    ENTERPRISE = "enterprise"


class HoldReason(StrEnum):
    """Why nobody else may claim a subdomain that no tenant has."""

    # A rename of its tenant is on its way there.
    RENAME = "rename"
    # It led to a tenant until lately: its users' bookmarks, cookies and caches still know it.
    RELEASED = "released"
    # An operation that would have led it to a tenant was undone; a worker may not know yet.
    UNDONE = "undone"


# A state whose operation was rolled back returns to where it came from.
TRANSITIONS: dict[TenantState, frozenset[TenantState]] = {
    TenantState.PROVISIONING: frozenset({TenantState.ACTIVE, TenantState.FAILED}),
    TenantState.ACTIVE: frozenset({TenantState.SUSPENDED, TenantState.DELETING}),
    TenantState.SUSPENDED: frozenset({TenantState.ACTIVE, TenantState.DELETING}),
    TenantState.DELETING: frozenset(
        {TenantState.DELETED, TenantState.ACTIVE, TenantState.SUSPENDED}
    ),
    TenantState.DELETED: frozenset({TenantState.ACTIVE, TenantState.PURGING}),
    TenantState.PURGING: frozenset({TenantState.PURGED}),
    TenantState.PURGED: frozenset(),
    # There is nothing of a failed tenant to keep: deleting it is purging it.
    TenantState.FAILED: frozenset({TenantState.PROVISIONING, TenantState.PURGED}),
}

# States in which the tenant does not hold its subdomain.
RELEASED = frozenset({TenantState.PURGED, TenantState.FAILED})


# The condition of a tenant whose schema stays at its revision.
FROZEN = "Frozen"


def frozen(conditions: dict[str, Any]) -> bool:
    """Whether no rollout and no repair may change the schema's revision."""
    return bool((conditions.get(FROZEN) or {}).get("holds"))


@dataclass(frozen=True)
class Tenant:
    """A row of public.tenants. `revision` is the sorted, comma-joined set of template heads."""

    id: UUID
    name: str
    subdomain: Subdomain
    state: TenantState
    tier: Tier
    admin_email: str
    admin_name: str | None
    revision: str | None
    version: int
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None
    metadata: dict[str, object] = field(default_factory=dict)
    conditions: dict[str, object] = field(default_factory=dict)

    @property
    def schema(self) -> SchemaName:
        return schema_name(self.id)
