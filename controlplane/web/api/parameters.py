"""Parameters that several operations share, and the guard that refuses all others."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args

from litestar.connection import ASGIConnection
from litestar.datastructures.multi_dicts import MultiMixin
from litestar.handlers import BaseRouteHandler
from litestar.params import HeaderParameter, ParameterKwarg, QueryParameter
from litestar.typing import FieldDefinition

from controlplane.errors import FieldFault
from controlplane.web.api.bodies import failed
from controlplane.web.api.headers import KEY_PATTERN, LONGEST_WAIT_S
from controlplane.web.paging import CURSOR_PATTERN, LARGEST

Limit = Annotated[
    int, QueryParameter(ge=1, le=LARGEST, description="How many a page may have at most.")
]
Cursor = Annotated[
    str | None,
    QueryParameter(pattern=CURSOR_PATTERN, description="`next_cursor` of the page before."),
]
IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        schema_extra={"pattern": KEY_PATTERN},
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


async def sound_parameters(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> None:
    """A guard: a misspelt or doubled filter must not widen what is found. Raises ValidationFailed."""
    known = _declared(handler)
    faults = [
        *_query_faults(connection.query_params, {name for kind, name in known if kind == "query"}),
        *_null_faults(connection, known),
    ]
    if faults:
        raise failed(faults)


def _declared(handler: BaseRouteHandler) -> dict[tuple[str, str], FieldDefinition]:
    """The handler's parameters by kind and outer name."""
    return {
        (str(field.kwarg_definition.param_type.value), field.kwarg_definition.name or name): field
        for name, field in handler.parsed_fn_signature.parameters.items()
        if isinstance(field.kwarg_definition, ParameterKwarg)
    }


def _query_faults(given: MultiMixin[str], known: set[str]) -> Iterator[FieldFault]:
    for name, values in given.dict().items():
        if name not in known:
            yield FieldFault(f"/query/{name}", "unknown_parameter", "There is no such parameter.")
        elif len(values) > 1:
            yield FieldFault(f"/query/{name}", "repeated", "This may be given once.")


def _null_faults(
    connection: ASGIConnection[Any, Any, Any, Any], known: Mapping[tuple[str, str], FieldDefinition]
) -> Iterator[FieldFault]:
    """msgspec takes the word null for nothing at all, unless text is meant."""
    sources: dict[str, Mapping[str, Any]] = {
        "query": connection.query_params,
        "header": connection.headers,
    }
    for (kind, name), field in known.items():
        text = sources.get(kind, {}).get(name)
        if (
            isinstance(text, str)
            and text.lower() == "null"
            and str not in get_args(field.annotation)
        ):
            yield FieldFault(f"/{kind}/{name}", "invalid", "'null' is no value; leave it out.")
