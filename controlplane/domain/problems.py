"""An error as RFC 9457 problem details. Pure."""

import inspect
from http import HTTPStatus

from controlplane.errors import ControlPlaneError, ValidationFailed

MEDIA_TYPE = "application/problem+json"


def problem(
    error: ControlPlaneError, *, instance: str | None = None, request_id: str | None = None
) -> dict[str, object]:
    """The problem's members, ready for JSON.

    `title` is the first line of the class's docstring, `detail` the message, but the title again
    where the fault is ours; `errors` is there for a ValidationFailed with faults, `instance` and
    `request_id` where they are given.
    """
    title = (inspect.getdoc(type(error)) or "").partition("\n")[0]
    # What has gone wrong inside may name another tenant.
    told = "" if error.status == HTTPStatus.INTERNAL_SERVER_ERROR else str(error)
    members: dict[str, object] = {
        "type": f"urn:controlplane:problem:{error.code}",
        "title": title,
        "status": error.status,
        "detail": told or title,
        "code": error.code,
    }
    if instance is not None:
        members["instance"] = instance
    if request_id is not None:
        members["request_id"] = request_id
    if isinstance(error, ValidationFailed) and error.faults:
        members["errors"] = [
            {"pointer": fault.pointer, "code": fault.code, "detail": fault.detail}
            for fault in error.faults
        ]
    return members


def problem_headers(error: ControlPlaneError) -> dict[str, str]:
    """The headers that go with the problem's body, names in lower case."""
    headers = {
        "content-type": MEDIA_TYPE,
        "x-error-code": error.code,
        # A tenant that is unknown now may be active in a second.
        "cache-control": "no-store",
    }
    if error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    return headers
