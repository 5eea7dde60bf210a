"""Pure ASGI: from a request to its tenant's scope, or to a refusal."""

import json
from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping, Sequence
from typing import Any, Protocol
from urllib.parse import quote
from uuid import UUID

from controlplane.domain.problems import problem, problem_headers
from controlplane.errors import ControlPlaneError, TenantUnavailable
from controlplane.routing import moved
from controlplane.routing.answers import admitted
from controlplane.routing.moved import Network, parse_networks
from controlplane.routing.resolve import (
    Asked,
    Headers,
    HostName,
    Named,
    Resolver,
    Whose,
    agree,
    single_host,
    whose,
    without_tenant_headers,
)
from controlplane.routing.revisions import Serves, refuse_unserved
from controlplane.routing.tenant import RoutedTenant, tenant_scope
from controlplane.routing.violations import EARS, Ears, Violated, hear, unheard

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
# Any: each framework has scope types of its own.
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]

_POLICY_VIOLATION = 1008


class Directory(Protocol):
    """Knows who holds a subdomain, whose own domain a host is (a name with dots), and who has an
    id. Raises TenantUnavailable where it cannot know. `identify` is called only where a resolver
    speaks of ids."""

    async def lookup(self, name: str, /) -> RoutedTenant | None: ...
    async def identify(self, tenant_id: UUID) -> RoutedTenant | None: ...


class TenantMiddleware:
    """Calls `app` for an active tenant's request only, with the tenant in
    `scope["state"]["tenant"]` and as `current_tenant()` until the last byte of the body is sent.

    Whose a request is says its host, by the label before `base_domain` or as a tenant's own domain;
    where it is neither, one of the resolvers in `also`, in their order. Every other request is
    answered with a problem (a websocket is closed with code 1008), and so is a TenantUnavailable
    that the app raises before it has begun to answer. A problem names the
    `scope["state"]["request_id"]` that an outer layer may have left. Paths in `exempt_paths`,
    compared whole, reach the app without a tenant on any host. With `serves`, a tenant whose schema
    is at another revision is answered 503 `tenant_migrating`.

    A host that has moved to another one of its tenant's is answered 308, by https unless one of the
    networks in `proxies` says `X-Forwarded-Proto: http`; a websocket is served all the same.

    `violated` is told of what must never happen, of each kind once a request: `tenant_mismatch` (a
    witness means another tenant), `tenant_schema_missing`, `tenant_context_conflict` (the code asked
    for another tenant), `denied` (the tenant's role was refused something). It must neither wait
    nor raise. Raises ValueError for a `base_domain` or a network that is none.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        directory: Directory,
        base_domain: str,
        also: Sequence[Resolver] = (),
        exempt_paths: Collection[str] = (),
        serves: Serves | None = None,
        violated: Violated = unheard,
        proxies: Iterable[str | Network] = (),
    ) -> None:
        self._app = app
        self._directory = directory
        self._host = HostName(base_domain)
        self._also = tuple(also)
        self._exempt_paths = frozenset(exempt_paths)
        self._serves = serves
        self._violated = violated
        self._proxies = parse_networks(proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        asked_with, scope = scope["headers"], dict(scope)
        scope["headers"] = without_tenant_headers(asked_with)
        if scope["path"] in self._exempt_paths:
            return await self._app(scope, receive, send)
        try:
            asked = _asked(scope, asked_with)
            said, witnesses = whose(self._also, asked, first=await self._at_host(asked))
            tenant = await self._tenant(said)
            ears = Ears(self._violated, tenant, asked, request_id=_request_id(scope))
            with ears:
                agree(witnesses, tenant)
            refuse_unserved(tenant.revision, self._serves)
        except ControlPlaneError as error:
            return await _refuse(error, scope, send)
        if tenant.moved_to is not None and scope["type"] == "http":
            return await self._move(tenant.moved_to, asked, scope, send)
        if isinstance(said, Named) and said.prefix:
            scope = _below(scope, said.prefix)
        scope["state"] = {**scope.get("state", {}), "tenant": tenant}
        scope[EARS] = ears
        return await self._serve(tenant, scope, receive, send)

    async def _at_host(self, asked: Asked) -> Named | None:
        """The name that the host gives; None for a foreign domain that is no tenant's."""
        named = self._host(asked)
        if named is not None and named.perhaps and not await self._directory.lookup(named.name):
            return None
        return named

    async def _tenant(self, said: Whose) -> RoutedTenant:
        """The active tenant; raises the answer where there is none."""
        if isinstance(said, Named):
            found = await self._directory.lookup(said.name)
            return admitted(found, asked_for=f"at '{said.name}'")
        return admitted(await self._directory.identify(said.id), asked_for=f"with the id {said.id}")

    async def _move(self, moved_to: str, asked: Asked, scope: Scope, send: Send) -> None:
        path = scope.get("raw_path") or quote(scope["path"]).encode()
        query = scope.get("query_string", b"")
        to = moved.location(moved_to, asked, path=path, query=query, proxies=self._proxies)
        await _begin(moved.STATUS, moved.headers(to), send)
        await send({"type": "http.response.body", "body": b""})

    async def _serve(
        self, tenant: RoutedTenant, scope: Scope, receive: Receive, send: Send
    ) -> None:
        answering = False

        async def watched(message: Message) -> None:
            nonlocal answering
            answering = True
            await send(message)

        try:
            with tenant_scope(tenant), scope[EARS]:
                await self._app(scope, receive, watched)
        except TenantUnavailable as error:
            if answering:
                raise
            await _refuse(error, scope, send)


def _asked(scope: Scope, headers: Headers) -> Asked:
    client = scope.get("client")
    return Asked(single_host(headers), scope["path"], headers, client[0] if client else None)


def _below(scope: Scope, prefix: str) -> Scope:
    """The same request for an app that is mounted at the prefix, as ASGI has it: `path` is whole,
    and `root_path` tells what of it is not the app's."""
    return {**scope, "root_path": scope.get("root_path", "") + prefix}


def _request_id(scope: Scope) -> str | None:
    """What an outer layer may have left."""
    request_id: str | None = scope.get("state", {}).get("request_id")
    return request_id


async def refused(request: Any, error: Any) -> Any:
    """For Starlette's and FastAPI's `add_exception_handler(ControlPlaneError, refused)`: what the
    application raises is answered as the middleware answers, and `violated` is told. Frameworks
    would make a 500 of it."""
    await hear(error, request.scope)

    async def answer(scope: Scope, _receive: Receive, send: Send) -> None:
        await _refuse(error, scope, send)

    return answer


async def _refuse(error: ControlPlaneError, scope: Scope, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": error.code})
        return
    told = problem(error, instance=scope["path"], request_id=_request_id(scope))
    body = json.dumps(told).encode()
    headers = {**problem_headers(error), "content-length": str(len(body))}
    await _begin(error.status, headers.items(), send)
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


async def _begin(status: int, headers: Iterable[tuple[str, str]], send: Send) -> None:
    encoded = [(name.encode(), value.encode()) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
