"""What the caller sent cannot be read, does not fit, or is not allowed."""

from collections.abc import Sequence
from dataclasses import dataclass

from controlplane.errors.root import ControlPlaneError


@dataclass(frozen=True)
class FieldFault:
    """What is wrong with one field. `pointer` is a JSON pointer into the request's body."""

    pointer: str
    code: str
    detail: str


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
