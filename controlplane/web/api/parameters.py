"""Parameters that several operations share, and the guard that refuses all others."""

from typing import Annotated, Any

from litestar.connection import ASGIConnection
from litestar.enums import ParamType
from litestar.handlers import BaseRouteHandler
from litestar.params import HeaderParameter, ParameterKwarg, QueryParameter

from controlplane.errors import FieldFault, ValidationFailed
from controlplane.web.api.headers import KEY_CHARACTERS, LONGEST_WAIT_S
from controlplane.web.paging import LARGEST

Limit = Annotated[
    int, QueryParameter(ge=1, le=LARGEST, description="How many a page may have at most.")
]
Cursor = Annotated[
    str | None,
    QueryParameter(max_length=200, description="`next_cursor` of the page before."),
]
IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        min_length=1,
        max_length=2 * KEY_CHARACTERS + 2,
        description="The same key with the same request is answered with the same operation,"
        " for 24 hours. In quotes or bare.",
    ),
]
Prefer = Annotated[
    str | None,
    HeaderParameter(
        name="Prefer",
        description=f"`wait=N`: answer 201 if it has succeeded within N ≤ {LONGEST_WAIT_S} s.",
    ),
]


async def no_unknown_parameters(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> None:
    """A guard: a misspelt filter must not widen what is found. Raises ValidationFailed."""
    known = _query_parameters(handler)
    faults = [
        FieldFault(f"/query/{name}", "unknown_parameter", "There is no such parameter.")
        for name in connection.query_params
        if name not in known
    ]
    if faults:
        raise ValidationFailed(" ".join(f"{f.pointer}: {f.detail}" for f in faults), faults)


def _query_parameters(handler: BaseRouteHandler) -> set[str]:
    return {
        field.kwarg_definition.name or name
        for name, field in handler.parsed_fn_signature.parameters.items()
        if isinstance(field.kwarg_definition, ParameterKwarg)
        and field.kwarg_definition.param_type is ParamType.QUERY
    }
