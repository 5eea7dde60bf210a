"""Steps and providers: what went wrong decides between trying again and undoing."""

from controlplane.errors.root import ControlPlaneError


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
