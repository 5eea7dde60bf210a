"""Every error as a problem (RFC 9457), from wherever it comes."""

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import psycopg
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.params import ParameterKwarg
from litestar.types import ExceptionHandlersMap
from sqlalchemy import exc as sqlalchemy_errors

from controlplane.domain.problems import MEDIA_TYPE, problem, problem_headers
from controlplane.errors import (
    AuthenticationRequired,
    BodyTooLarge,
    ControlPlaneError,
    DatabaseUnavailable,
    FieldFault,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    ValidationFailed,
)
from controlplane.web.asgi import Scope, Send, exchange_of

log = structlog.get_logger()

AnyRequest = Request[Any, Any, Any]

# msgspec names a field in the sentence, not beside it.
_FIELD = re.compile(r"(missing required|unknown) field `([^`]*)`")
# Litestar's KeyError for a body that is not there.
_NO_BODY = "'data'"


def handlers() -> ExceptionHandlersMap:
    """What Litestar does with an exception. Whatever is not here rises to the outermost layer."""
    unavailable: dict[Any, Any] = dict.fromkeys(
        (
            sqlalchemy_errors.OperationalError,
            sqlalchemy_errors.InterfaceError,
            sqlalchemy_errors.TimeoutError,
            psycopg.OperationalError,
        ),
        _database_gone,
    )
    return {
        ControlPlaneError: _expected,
        HTTPException: _translated,
        Exception: _unexpected,
        **unavailable,
    }


def _expected(request: AnyRequest, error: ControlPlaneError) -> Response[bytes]:
    if error.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        # The answer does not say it.
        log.error("request_failed", error=error.code, detail=str(error))
    status, headers, body = _answer(error, request.scope)
    content_type = headers.pop("content-type")
    return Response(body, status_code=status, headers=headers, media_type=content_type)


def _translated(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    return _expected(request, from_framework(error, _outer_names(request)))


def _database_gone(request: AnyRequest, _: Exception) -> Response[bytes]:
    return _expected(request, DatabaseUnavailable("The database does not answer; try again."))


def _unexpected(_: AnyRequest, error: Exception) -> Response[bytes]:
    raise error


def _outer_names(request: AnyRequest) -> dict[str, str]:
    """What a handler's parameters are called in a request."""
    handler = request.scope.get("route_handler")
    if handler is None:
        return {}
    definitions = {
        name: field.kwarg_definition
        for name, field in handler.parsed_fn_signature.parameters.items()
    }
    return {
        name: definition.name
        for name, definition in definitions.items()
        if isinstance(definition, ParameterKwarg) and definition.name
    }


def from_framework(error: HTTPException, names: Mapping[str, str]) -> ControlPlaneError:
    """Litestar's error as one of ours; `names` are the outer names of parameters.

    Raises it again where it is a fault of our own.
    """
    match error.status_code:
        case 404:
            return NotFound("There is nothing at this path.")
        case 405:
            allow = (error.headers or {}).get("allow", "")
            return MethodNotAllowed(f"This path allows {allow} only.", allow=allow)
        case 413:
            return BodyTooLarge("The request's body is too large.")
        case _ if isinstance(error, ValidationException):
            return _invalid(error, names)
        case status if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return InvalidRequest(error.detail)
        case _:
            raise error


def _invalid(error: ValidationException, names: Mapping[str, str]) -> ControlPlaneError:
    found = [entry for entry in error.extra or () if isinstance(entry, Mapping)]
    if not found:
        return InvalidRequest(error.detail)
    if any(entry["message"] == _NO_BODY for entry in found):
        return InvalidRequest("The body is empty; a JSON object is needed.")
    faults = [_fault(entry, names) for entry in found]
    return ValidationFailed(_summary(faults), faults)


def _summary(faults: list[FieldFault]) -> str:
    return " ".join(f"{fault.pointer or 'body'}: {fault.detail}" for fault in faults)


def _fault(entry: Mapping[str, Any], names: Mapping[str, str]) -> FieldFault:
    message, key = str(entry["message"]), str(entry.get("key", ""))
    source = str(getattr(entry.get("source"), "value", entry.get("source", "query")))
    if source != "body":
        return FieldFault(f"/{source}/{names.get(key, key)}", "invalid", f"{message}.")
    within = [] if key == "data" else re.split(r"[.\[\]]+", key.removesuffix("]"))
    named = _FIELD.search(message)
    if named:
        code = "missing" if named[1].startswith("missing") else "unknown_field"
        detail = "This field is needed." if code == "missing" else "There is no such field."
        return FieldFault(_pointer([*within, named[2]]), code, detail)
    return FieldFault(_pointer(within), "invalid", f"{message}.")


def _pointer(parts: list[str]) -> str:
    return "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in parts)


async def send_problem(error: ControlPlaneError, scope: Scope, send: Send) -> None:
    """Answer with the error where no framework is at hand."""
    status, headers, body = _answer(error, scope)
    headers["content-length"] = str(len(body))
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _answer(error: ControlPlaneError, scope: Any) -> tuple[int, dict[str, str], bytes]:
    members = problem(error, instance=scope["path"], request_id=exchange_of(scope).request_id)
    headers = problem_headers(error)
    match error:
        case AuthenticationRequired():
            headers["www-authenticate"] = 'Bearer realm="controlplane"'
        case MethodNotAllowed():
            headers["allow"] = error.allow
    headers["content-type"] = MEDIA_TYPE
    return error.status, headers, json.dumps(members).encode()
