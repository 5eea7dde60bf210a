"""The OpenAPI document, and what handlers say for it."""

from collections.abc import Sequence
from typing import Any

from litestar import Litestar
from litestar.datastructures import ResponseHeader
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.spec import Components, Example, SecurityScheme, Tag
from litestar.types import ControllerRouterHandler
from msgspec import Struct

from controlplane import errors
from controlplane.domain.problems import MEDIA_TYPE, problem
from controlplane.errors import ControlPlaneError, FieldFault
from controlplane.web.request import ApiRequest

BEARER: list[dict[str, list[str]]] = [{"bearer": []}]
TENANT_BEARER: list[dict[str, list[str]]] = [{"tenantBearer": []}]
# With a token or without.
MAYBE_TENANT_BEARER: list[dict[str, list[str]]] = [{}, *TENANT_BEARER]
ETAG = ResponseHeader(
    name="ETag", value="", description="The version; If-Match of a change.", documentation_only=True
)
LOCATION = ResponseHeader(
    name="Location", value="", description="The operation's address.", documentation_only=True
)
TENANT_HEADERS = [
    ResponseHeader(
        name="X-Tenant-Id", value="", description="The tenant's id.", documentation_only=True
    ),
    ResponseHeader(
        name="X-Tenant-Name",
        value="",
        description="Its name, percent-encoded as UTF-8 (`encodeURIComponent`).",
        documentation_only=True,
    ),
]

_EXAMPLES: dict[int, ControlPlaneError] = {
    400: errors.InvalidRequest("The body is not JSON that can be read."),
    401: errors.AuthenticationRequired("Send 'Authorization: Bearer <token>' with a valid token."),
    403: errors.PermissionDenied("This needs a token that may write, of a role that may, too."),
    404: errors.NotFound("There is nothing at this path."),
    409: errors.SubdomainTaken("The subdomain 'acme' is taken; choose another."),
    412: errors.VersionConflict(
        "It has changed since you read it; read it again, then change that."
    ),
    413: errors.BodyTooLarge("The body may have at most 1048576 bytes."),
    415: errors.UnsupportedMediaType("Send the body as application/json."),
    422: errors.SubdomainReserved(
        "The subdomain 'www' is reserved; choose another.",
        [FieldFault("/subdomain", "subdomain_reserved", "The subdomain 'www' is reserved.")],
    ),
    428: errors.VersionRequired("Send the ETag of what you have read as If-Match."),
    429: errors.TooManyRequests("You have no more requests for now.", retry_after=7),
    500: ControlPlaneError(),
    503: errors.DatabaseUnavailable("The database does not answer; try again."),
}
_ALWAYS = (400, 500, 503)


class Fault(Struct):
    """What is wrong with one field: a JSON pointer into the body, or /query/…, /header/…, /path/…."""

    pointer: str
    code: str
    detail: str


class Problem(Struct, omit_defaults=True):
    """RFC 9457 problem details. `code` is stable; `errors` names the fields at fault."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str
    request_id: str
    errors: list[Fault] = []


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """The problems that an operation may answer, besides those that every one may."""
    return {status: _spec(status) for status in sorted({*_ALWAYS, *statuses})}


def _spec(status: int) -> ResponseSpec:
    error = _EXAMPLES[status]
    example = problem(error, instance="/api/admin/tenants", request_id="01J9ZC")
    return ResponseSpec(
        Problem,
        generate_examples=False,
        description=str(example["title"]),
        media_type=MEDIA_TYPE,
        examples=[Example(id=error.code, summary=error.code, value=example)],
    )


def document(handlers: Sequence[ControllerRouterHandler], *, title: str, version: str) -> Any:
    """The OpenAPI 3.1 document of these handlers, as JSON values.

    Made by an application of its own: the one that serves would get catch-all routes with it.
    """
    described = Litestar(
        handlers,
        request_class=ApiRequest,
        logging_config=None,
        openapi_config=OpenAPIConfig(
            title=title,
            version=version,
            use_handler_docstrings=True,
            components=Components(
                security_schemes={
                    "bearer": SecurityScheme(
                        type="http",
                        scheme="bearer",
                        description="A global admin's token, `cp_…`.",
                    ),
                    "tenantBearer": SecurityScheme(
                        type="http",
                        scheme="bearer",
                        bearer_format="JWT",
                        description="A token of a user or API client of the host's tenant.",
                    ),
                }
            ),
            tags=[
                Tag(name="tenants"),
                Tag(name="operations"),
                Tag(name="findings"),
                Tag(name="rollouts"),
                Tag(name="tenant"),
                Tag(name="edge"),
                Tag(name="system"),
            ],
        ),
    )
    return _refined(described.openapi_schema.to_schema())


def _refined(found: Any) -> Any:
    """What Litestar does not say by itself."""
    schemas = found["components"]["schemas"]
    for operation in (each for item in found["paths"].values() for each in item.values()):
        for parameter in operation.get("parameters", ()):
            parameter["schema"] = _without_null(parameter["schema"])
        for answer in operation["responses"].values():
            _describe_stream(answer.get("content", {}))
        for content in operation.get("requestBody", {}).get("content", {}).values():
            _complete_body(content, schemas[content["schema"]["$ref"].rpartition("/")[2]])
    return found


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter is there or not; it cannot be null."""
    choices = [choice for choice in schema.get("oneOf", ()) if choice != {"type": "null"}]
    if len(choices) != 1:
        return schema
    return {**{k: v for k, v in schema.items() if k != "oneOf"}, **choices[0]}


def _describe_stream(content: dict[str, Any]) -> None:
    if "text/event-stream" in content:
        example = 'id: 1\nevent: accepted\ndata: {"seq": 1, "type": "accepted"}\n\n'
        content["text/event-stream"]["example"] = example


def _complete_body(content: dict[str, Any], schema: dict[str, Any]) -> None:
    schema["additionalProperties"] = False
    fields = {name: schema["properties"][name] for name in schema["required"]}
    content["example"] = {name: field["examples"][0] for name, field in fields.items()}
