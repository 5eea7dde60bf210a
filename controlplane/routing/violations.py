"""What must never happen in a tenant's request, and who is told of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from psycopg.errors import InsufficientPrivilege

from controlplane.errors import TenantContextConflict, TenantMismatch, TenantSchemaMissing
from controlplane.routing.resolve import Asked
from controlplane.routing.tenant import RoutedTenant

_DENIED = "denied"
KINDS = (TenantMismatch.code, TenantSchemaMissing.code, TenantContextConflict.code, _DENIED)

# Where `hear` finds whom to tell: what a framework answers does not rise to the middleware.
EARS = "controlplane.ears"
# Errors wrap errors; one that is its own cause would never end.
_DEEPEST = 8


@dataclass(frozen=True, slots=True)
class Violation:
    """`kind` is one of KINDS, `tenant` whose request it was. `claimed` is the id of another tenant,
    where a verified token was issued for that one. `request_id` is what an outer layer left."""

    kind: str
    tenant: RoutedTenant
    # Its headers hold the token: whoever logs the violation does not log that.
    asked: Asked = field(repr=False)
    claimed: UUID | None = None
    request_id: str | None = None


# Called in the midst of the request: it neither waits nor raises.
Violated = Callable[[Violation], None]


def unheard(_: Violation) -> None:
    """Nobody asked to be told of violations."""


class Ears:
    """Tells of what one request violates, of each kind once. As a context, of what rises out of it."""

    __slots__ = ("_asked", "_request_id", "_tenant", "_told", "_violated")

    def __init__(
        self,
        violated: Violated,
        tenant: RoutedTenant,
        asked: Asked,
        *,
        request_id: str | None = None,
    ) -> None:
        self._violated = violated
        self._tenant = tenant
        self._asked = asked
        self._request_id = request_id
        self._told: tuple[str, ...] = ()

    def __call__(self, error: BaseException) -> None:
        """Tell of the error, if it is a violation that was not told of yet."""
        kind = kind_of(error)
        if kind is None or kind in self._told:
            return
        self._told += (kind,)
        claimed = error.claimed if isinstance(error, TenantMismatch) else None
        self._violated(Violation(kind, self._tenant, self._asked, claimed, self._request_id))

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None:
            self(error)


def kind_of(error: BaseException, deepest: int = _DEEPEST) -> str | None:
    """Which violation the error is, or was caused by; None for every other error."""
    if isinstance(error, TenantMismatch | TenantSchemaMissing | TenantContextConflict):
        return error.code
    if isinstance(error, InsufficientPrivilege):
        return _DENIED
    within = error.exceptions if isinstance(error, BaseExceptionGroup) else [error.__cause__]
    kinds = [kind_of(cause, deepest - 1) for cause in within if cause is not None and deepest]
    return next(filter(None, kinds), None)


async def hear(error: BaseException, scope: Mapping[str, Any]) -> None:
    """Tell the middleware's `violated` of an error that a framework answers by itself, such as
    Litestar: `after_exception=[hear]`. Of what is no violation, and outside of a tenant, of
    nothing. Whoever hears it twice tells of it once."""
    hear_sync(error, scope)


def hear_sync(error: BaseException, environ: Mapping[str, Any]) -> None:
    """As `hear`, for WSGI: in the error handlers of Flask and others."""
    ears = environ.get(EARS)
    if ears is not None:
        ears(error)
