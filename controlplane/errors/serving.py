"""A tenant, or the control plane itself, that cannot be served now."""

from uuid import UUID

from controlplane.errors.root import ControlPlaneError


class TenantMismatch(ControlPlaneError):
    """The request speaks for another tenant than its host's."""

    code = "tenant_mismatch"
    status = 401

    def __init__(self, message: str, *, claimed: UUID | None = None) -> None:
        super().__init__(message)
        # For the audit, never for the answer: the tenant that a verified token was issued for.
        self.claimed = claimed


class TenantSuspended(ControlPlaneError):
    """The tenant is suspended."""

    code = "tenant_suspended"
    status = 403


class TenantUnavailable(ControlPlaneError):
    """The tenant cannot be served at the moment."""

    code = "tenant_not_ready"
    status = 503
    retry_after: int | None = 2


class TenantNotReady(TenantUnavailable):
    """The tenant is still being set up."""


class TenantSchemaMissing(TenantUnavailable):
    """The tenant's schema is missing."""

    code = "tenant_schema_missing"


class TenantMigrating(TenantUnavailable):
    """The tenant's schema is at a revision that is not served here."""

    code = "tenant_migrating"
    retry_after: int | None = 5


class TenantBusy(TenantUnavailable):
    """The tenant has as many transactions under way as it may."""

    code = "tenant_busy"
    retry_after: int | None = 1


class MissingTenantContext(ControlPlaneError):
    """A tenant's data was asked for without saying whose."""

    code = "missing_tenant_context"


class TenantContextConflict(ControlPlaneError):
    """A tenant's data was asked for inside another tenant's scope."""

    code = "tenant_context_conflict"


class SecretUnsealable(ControlPlaneError):
    """A sealed secret cannot be opened."""

    code = "secret_unsealable"


class NotReady(ControlPlaneError):
    """The control plane cannot serve requests at the moment."""

    code = "not_ready"
    status = 503
    retry_after: int | None = 2
