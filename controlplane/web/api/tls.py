"""Whether a proxy may get a certificate for a name, asked in the midst of a TLS handshake: the `ask`
of Caddy's on-demand TLS. Anybody can have it asked, as often as he opens a connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from litestar import MediaType, Response, get
from litestar.params import QueryParameter

from controlplane.domain.tenants import TenantState
from controlplane.errors import InvalidRequest, NotFound, TenantUnavailable
from controlplane.routing.hosts import tenant_name
from controlplane.web.openapi import problems
from controlplane.web.request import ApiRequest
from controlplane.wiring import Parts

PATH = "/api/edge/tls-allowed"

# Names that are not remembered cost a query each, of connections that tenants need as well.
_AT_ONCE = 2
_WAITING = 64
# Suspended tenants too: who comes to one is told so, and not that the site is not safe.
_WORTHY = frozenset({TenantState.ACTIVE, TenantState.SUSPENDED})
_ADMIN = "admin"


class Line:
    """Lets a few through at a time, and turns away whoever finds it long."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(_AT_ONCE)
        self._inside = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Raises TenantUnavailable where too many wait."""
        if self._inside >= _AT_ONCE + _WAITING:
            raise TenantUnavailable("Too many ask at once; try again.")
        self._inside += 1
        try:
            async with self._free:
                yield
        finally:
            self._inside -= 1


@get(
    PATH,
    operation_id="tlsAllowed",
    summary="Whether a name may have a certificate",
    tags=["edge"],
    media_type=MediaType.TEXT,
    responses=problems(404, 422),
)
async def tls_allowed(
    request: ApiRequest,
    domain: Annotated[  # noqa: ARG001  for the document; what is read is every one that is sent
        str, QueryParameter(description="The name that a client has asked for, as Caddy sends it.")
    ],
) -> Response[None]:
    """200 without a body for a verified domain or a subdomain of an active or suspended tenant, for
    the base domain and for `admin.` before it; 404 for any other name."""
    names = request.query_params.getall("domain", [])
    if len(names) != 1:
        raise InvalidRequest("Name one domain: ?domain=…")
    line: Line = request.app.state.tls_line
    async with line.turn():
        allowed = await _is_worthy(names[0], request.parts)
    if not allowed:
        # One answer, whatever the reason: it tells no more than the host itself.
        raise NotFound("No certificate is to be had for this name.")
    return Response(None, status_code=200)


async def _is_worthy(host: str, parts: Parts) -> bool:
    base = parts.settings.base_domain
    try:
        name = tenant_name(host, base)
    except InvalidRequest:
        return False
    if name is None or name == _ADMIN:
        return host.lower() in {base, f"{_ADMIN}.{base}"}
    tenant = await parts.directory.lookup(name)
    return tenant is not None and tenant.state in _WORTHY
