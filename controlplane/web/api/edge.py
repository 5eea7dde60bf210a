"""Whose host a request is for, asked before it reaches an app server: by a proxy (Traefik's
ForwardAuth, Caddy's `forward_auth`, nginx's `auth_request`) or by a front end's own edge."""

import hashlib
from time import monotonic
from typing import Annotated, Any, Self
from urllib.parse import quote
from uuid import UUID

from litestar import MediaType, Response, get
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter
from msgspec import Struct

from controlplane.domain.tenants import TenantState
from controlplane.errors import InvalidRequest, TenantRequired
from controlplane.routing import moved
from controlplane.routing.answers import admitted
from controlplane.routing.hosts import is_own_domain, tenant_name
from controlplane.routing.resolve import Asked, trusted
from controlplane.routing.tenant import RoutedTenant
from controlplane.web.auth import admins_only, bearer
from controlplane.web.openapi import BEARER, TENANT_HEADERS, problems
from controlplane.web.request import ApiRequest
from controlplane.wiring import Parts

PATH = "/api/edge/resolve"

# As long as the directory believes itself: a token that has ended works here no longer than that.
_BELIEVED_S = 1.5
_TOKENS = 1_000

Connection = ASGIConnection[Any, Any, Any, Any]


class ResolvedTenant(Struct):
    """Whose host it is. `moved_to` is the host that its requests are to be sent on to."""

    id: UUID
    name: str
    subdomain: str
    state: TenantState
    tier: str
    moved_to: str | None

    @classmethod
    def of(cls, tenant: RoutedTenant) -> Self:
        return cls(
            *(tenant.id, tenant.name, tenant.subdomain, tenant.state, tenant.tier, tenant.moved_to)
        )


class RecentTokens:
    """Tokens that were found good a moment ago: not every request that an edge lets in is to cost
    a query. `now` is a monotonic clock's seconds."""

    def __init__(self) -> None:
        self._until: dict[bytes, float] = {}

    def believed(self, token: str, now: float) -> bool:
        return now < self._until.get(_digest(token), now)

    def found_good(self, token: str, now: float) -> None:
        if len(self._until) >= _TOKENS:
            self._until.clear()
        self._until[_digest(token)] = now + _BELIEVED_S


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


async def may_ask(connection: Connection, handler: BaseRouteHandler) -> None:
    """A guard. A trusted proxy may ask for the host that it was asked for, whoever may read for
    any. Raises AuthenticationRequired or PermissionDenied."""
    if "host" not in connection.query_params and _forwarding(connection):
        return
    recent: RecentTokens = connection.app.state.recent_tokens
    token, now = bearer(connection), monotonic()
    if not recent.believed(token, now):
        await admins_only(connection, handler)
        recent.found_good(token, now)


@get(
    PATH,
    operation_id="resolveHost",
    summary="Whose host it is",
    tags=["edge"],
    guards=[may_ask],
    security=BEARER,
    response_headers=TENANT_HEADERS,
    responses=problems(401, 403, 404),
)
async def resolve(
    request: ApiRequest,
    host: Annotated[
        str | None,
        QueryParameter(
            description="A host name, with a port or without. Left out by a trusted proxy, whose"
            " `X-Forwarded-Host` says it."
        ),
    ] = None,
) -> Response[ResolvedTenant]:
    """The active tenant of the host; any other is refused with what its own host would answer.

    A proxy that says `X-Forwarded-Uri` is answered 308 for a host that has moved to another."""
    asked = _single(request.query_params.getall("host", [])) if host is not None else None
    tenant = await _tenant_at(asked if asked is not None else _forwarded(request), request.parts)
    if asked is None and tenant.moved_to and (to := _onward(request, tenant.moved_to)):
        onward: Response[Any] = Response(
            b"", status_code=moved.STATUS, media_type=MediaType.TEXT, headers={"location": to}
        )
        return onward
    headers = {"X-Tenant-Id": str(tenant.id), "X-Tenant-Name": quote(tenant.name, safe="")}
    return Response(ResolvedTenant.of(tenant), headers=headers)


async def _tenant_at(host: str, parts: Parts) -> RoutedTenant:
    """Raises the answer where no tenant is to be served there."""
    name = tenant_name(host, parts.settings.base_domain) if host else None
    found = None if name is None else await parts.directory.lookup(name)
    if name is None or (found is None and is_own_domain(name)):
        raise TenantRequired(f"'{host}' is no tenant's host.")
    return admitted(found, asked_for=f"at '{name}'")


def _onward(request: ApiRequest, moved_to: str) -> str | None:
    """Where the proxy's client is to go on; None where it is not said what it has asked for, and
    for a websocket, which would not follow."""
    uris = request.headers.getall("x-forwarded-uri", [])
    if len(uris) != 1 or request.headers.get("upgrade", "").lower() == "websocket":
        return None
    path, _, query = uris[0].encode("latin-1").partition(b"?")
    client = request.client
    asked = Asked("", "", [*request.scope["headers"]], client.host if client else None)
    proxies = request.parts.settings.trusted_proxies
    return moved.location(moved_to, asked, path=path, query=query, proxies=proxies)


def _forwarding(connection: Connection) -> bool:
    """Whether a proxy in one of the trusted networks asks."""
    parts: Parts = connection.app.state.parts
    client = connection.client
    return trusted(client.host if client else None, parts.settings.trusted_proxies)


def _forwarded(connection: Connection) -> str:
    if not _forwarding(connection):
        raise InvalidRequest("Name the host: ?host=…")
    return _single(connection.headers.getall("x-forwarded-host", []))


def _single(hosts: list[str]) -> str:
    if len(hosts) != 1:
        raise InvalidRequest("One host is needed, by ?host= or by a trusted X-Forwarded-Host.")
    return hosts[0]
