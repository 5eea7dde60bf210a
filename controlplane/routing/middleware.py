"""Pure ASGI: from the Host header to the tenant's scope, or to a refusal."""

import json
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any, Protocol

from controlplane.domain.problems import problem, problem_headers
from controlplane.errors import ControlPlaneError, InvalidRequest, TenantRequired, TenantUnavailable
from controlplane.routing.answers import admitted
from controlplane.routing.hosts import parse_base_domain, tenant_label
from controlplane.routing.tenant import RoutedTenant, tenant_scope

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
# Any: each framework has scope types of its own.
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]
_Headers = list[tuple[bytes, bytes]]

_TENANT_HEADERS = frozenset({b"x-tenant-id", b"x-tenant-name"})
_POLICY_VIOLATION = 1008


class Directory(Protocol):
    """Knows who holds a subdomain. Raises TenantUnavailable where it cannot know."""

    async def lookup(self, subdomain: str) -> RoutedTenant | None: ...


class TenantMiddleware:
    """Calls `app` for an active tenant's host only, with the tenant in `scope["state"]["tenant"]`
    and as `current_tenant()` until the last byte of the body is sent.

    Every other request is answered with a problem (a websocket is closed with code 1008), and so
    is a TenantUnavailable that the app raises before it has begun to answer. A problem names the
    `scope["state"]["request_id"]` that an outer layer may have left. Paths in
    `exempt_paths`, compared whole, reach the app without a tenant on any host. Raises ValueError
    for a `base_domain` that is none.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        directory: Directory,
        base_domain: str,
        exempt_paths: Collection[str] = (),
    ) -> None:
        self._app = app
        self._directory = directory
        self._base_domain = parse_base_domain(base_domain)
        self._exempt_paths = frozenset(exempt_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        scope = {**scope, "headers": _without_tenant_headers(scope["headers"])}
        if scope["path"] in self._exempt_paths:
            return await self._app(scope, receive, send)
        try:
            tenant = await self._tenant(scope["headers"])
        except ControlPlaneError as error:
            return await _refuse(error, scope, send)
        return await self._serve(tenant, scope, receive, send)

    async def _tenant(self, headers: _Headers) -> RoutedTenant:
        """The active tenant of the Host header; raises the answer where there is none."""
        host = _host(headers)
        label = tenant_label(host, self._base_domain)
        if label is None:
            raise TenantRequired(f"'{host}' is no tenant's host.")
        return admitted(await self._directory.lookup(label), subdomain=label)

    async def _serve(
        self, tenant: RoutedTenant, scope: Scope, receive: Receive, send: Send
    ) -> None:
        answering = False

        async def watched(message: Message) -> None:
            nonlocal answering
            answering = True
            await send(message)

        scope["state"] = {**scope.get("state", {}), "tenant": tenant}
        try:
            with tenant_scope(tenant):
                await self._app(scope, receive, watched)
        except TenantUnavailable as error:
            if answering:
                raise
            await _refuse(error, scope, send)


def _without_tenant_headers(headers: _Headers) -> _Headers:
    """Nobody but the host says who the tenant is; `_` and `-` are one letter to CGI-like apps."""
    return [
        (name, value)
        for name, value in headers
        if name.lower().replace(b"_", b"-") not in _TENANT_HEADERS
    ]


def _host(headers: _Headers) -> str:
    hosts = [value for name, value in headers if name.lower() == b"host"]
    if len(hosts) != 1:
        raise InvalidRequest("The request needs exactly one Host header.")
    return hosts[0].decode("latin-1")


async def _refuse(error: ControlPlaneError, scope: Scope, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": error.code})
        return
    request_id = scope.get("state", {}).get("request_id")
    body = json.dumps(problem(error, instance=scope["path"], request_id=request_id)).encode()
    headers = {**problem_headers(error), "content-length": str(len(body))}
    await send(
        {
            "type": "http.response.start",
            "status": error.status,
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
