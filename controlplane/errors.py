"""The one error tree. A class's docstring is the title of its problem, its message names the
thing and the remedy; `code` is stable and `status` is its answer over HTTP (RFC 9457)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID


class ControlPlaneError(Exception):
    """The control plane could not do this."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    retry_after: int | None = None


@dataclass(frozen=True)
class FieldFault:
    """What is wrong with one field. `pointer` is a JSON pointer into the request's body."""

    pointer: str
    code: str
    detail: str


# -- what the caller sent -------------------------------------------------------------------


class InvalidRequest(ControlPlaneError):
    """The request cannot be read."""

    code = "invalid_request"
    status = 400


class MethodNotAllowed(ControlPlaneError):
    """This path does not know this method."""

    code = "method_not_allowed"
    status = 405

    def __init__(self, message: str, *, allow: str) -> None:
        super().__init__(message)
        self.allow = allow


class BodyTooLarge(ControlPlaneError):
    """The request's body is too large."""

    code = "body_too_large"
    status = 413


class UnsupportedMediaType(ControlPlaneError):
    """The request's body has a type that is not read here."""

    code = "unsupported_media_type"
    status = 415


class ValidationFailed(ControlPlaneError):
    """A field of the request does not fit."""

    code = "validation_failed"
    status = 422

    def __init__(self, message: str, faults: Sequence[FieldFault] = ()) -> None:
        super().__init__(message)
        self.faults = tuple(faults)


class SubdomainInvalid(ValidationFailed):
    """The subdomain is not a usable DNS label."""

    code = "subdomain_invalid"


class SubdomainReserved(ValidationFailed):
    """The subdomain is reserved."""

    code = "subdomain_reserved"


class DomainInvalid(ValidationFailed):
    """This is no host name of a domain."""

    code = "domain_invalid"


class DomainReserved(ValidationFailed):
    """This domain is the installation's own."""

    code = "domain_reserved"


class IdempotencyKeyReused(ControlPlaneError):
    """This Idempotency-Key was used with another request."""

    code = "idempotency_key_reused"
    status = 422


class VersionConflict(ControlPlaneError):
    """What is to be changed has changed meanwhile."""

    code = "version_conflict"
    status = 412


class VersionRequired(ControlPlaneError):
    """A change must name the version that it is made from."""

    code = "version_required"
    status = 428


class AuthenticationRequired(ControlPlaneError):
    """A valid bearer token is needed."""

    code = "authentication_required"
    status = 401


class PermissionDenied(ControlPlaneError):
    """Your role does not allow this."""

    code = "permission_denied"
    status = 403


class TooManyRequests(ControlPlaneError):
    """A limit of requests is used up for the moment."""

    code = "rate_limited"
    status = 429

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SignatureInvalid(ControlPlaneError):
    """The message is not signed by whom it names."""

    code = "signature_invalid"
    status = 403


# -- what is (not) there ---------------------------------------------------------------------


class NotFound(ControlPlaneError):
    """There is no such thing."""

    code = "not_found"
    status = 404


class TenantNotFound(NotFound):
    """There is no such tenant."""

    code = "tenant_not_found"


class TenantRequired(NotFound):
    """This address belongs to no tenant."""

    code = "tenant_required"


class OperationNotFound(NotFound):
    """There is no such operation."""

    code = "operation_not_found"


class DomainNotFound(NotFound):
    """The tenant has no such domain."""

    code = "domain_not_found"


class RolloutNotFound(NotFound):
    """There is no such rollout."""

    code = "rollout_not_found"


class Conflict(ControlPlaneError):
    """The present state does not allow this."""

    code = "invalid_state"
    status = 409


class InvalidState(Conflict):
    """The present state does not allow this."""


class SubdomainTaken(Conflict):
    """The subdomain is taken."""

    code = "subdomain_taken"


class SubdomainQuarantined(Conflict):
    """The subdomain was in use until lately."""

    code = "subdomain_quarantined"


class DomainTaken(Conflict):
    """Another tenant has this domain."""

    code = "domain_taken"


class DomainLimit(Conflict):
    """The tenant has as many domains as it may."""

    code = "domain_limit"


class OperationInProgress(Conflict):
    """The tenant has an operation in progress."""

    code = "provisioning_in_progress"


class RolloutInProgress(Conflict):
    """Another rollout has not ended."""

    code = "rollout_in_progress"


class RolloutRefused(Conflict):
    """The tenant template cannot be rolled out like this."""

    code = "rollout_refused"


class IdempotencyInFlight(Conflict):
    """The first request with this Idempotency-Key is still in flight."""

    code = "idempotency_in_flight"
    retry_after = 1


# -- a tenant that cannot be served now ---------------------------------------------------------


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


# -- steps and providers: what went wrong decides between trying again and undoing ----------------


class StepError(ControlPlaneError):
    """A step failed."""

    code = "step_failed"


class Permanent(StepError):
    """A step failed and would fail again."""


class Transient(StepError):
    """A step failed and may work when tried again."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after


class RevisionFailed(Permanent):
    """A revision of the tenant template failed in a tenant's schema."""

    code = "revision_failed"


class VerificationFailed(Permanent):
    """The new tenant did not pass its verification."""

    code = "verification_failed"


class SchemaConflict(Permanent):
    """A schema or role of that name exists and is not ours."""

    code = "schema_conflict"


class DnsConflict(Permanent):
    """A DNS record of that name exists and is not ours."""

    code = "dns_conflict"


class ProviderRefused(Permanent):
    """A provider refused the request for good."""

    code = "provider_refused"


class ProviderUnavailable(Transient):
    """A provider did not answer or asked to come back later."""

    code = "provider_unavailable"


class ProviderBusy(ProviderUnavailable):
    """A provider takes only so many requests; each who asks has his turn."""

    def __init__(self, message: str, *, wait_s: float) -> None:
        super().__init__(message, retry_after=wait_s)
        self.wait_s = wait_s


class SendUncertain(StepError):
    """Nobody can tell whether the mail was accepted."""

    code = "send_uncertain"


class LeaseLost(ControlPlaneError):
    """Another worker has taken this operation over."""

    code = "lease_lost"


# -- start-up ------------------------------------------------------------------------------------


class StartupError(ControlPlaneError):
    """The control plane cannot start like this."""

    code = "startup_failed"


class SettingsInvalid(StartupError):
    """The settings do not fit."""

    code = "settings_invalid"


class DatabaseUnavailable(StartupError):
    """PostgreSQL cannot be reached."""

    code = "database_unavailable"
    status = 503
    retry_after: int | None = 2


class UnsafeDatabaseRole(StartupError):
    """The app servers' login has rights that would void the isolation."""

    code = "unsafe_db_role"


class EmbeddedPostgresError(StartupError):
    """The embedded PostgreSQL cannot run."""

    code = "embedded_postgres_failed"


class TemplateInvalid(StartupError):
    """The tenant template breaks a rule."""

    code = "template_invalid"


class RevisionNeedsOnline(TemplateInvalid):
    """A data revision must run in the tenant's schema itself."""

    code = "revision_needs_online"
