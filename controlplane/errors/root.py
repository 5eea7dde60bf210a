"""The root of the error tree."""

from typing import ClassVar


class ControlPlaneError(Exception):
    """The control plane could not do this."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    retry_after: int | None = None
