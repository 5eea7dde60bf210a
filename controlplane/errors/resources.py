"""What is asked for is not there, or its present state does not allow what is asked."""

from controlplane.errors.root import ControlPlaneError


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


class OtherRelease(Conflict):
    """Another release of the tenant template answers than the one that was meant."""

    code = "other_release"
    retry_after = 2


class RolloutRefused(Conflict):
    """The tenant template cannot be rolled out like this."""

    code = "rollout_refused"


class IdempotencyInFlight(Conflict):
    """The first request with this Idempotency-Key is still in flight."""

    code = "idempotency_in_flight"
    retry_after = 1
