"""Which application a host belongs to."""

from collections.abc import Collection

from controlplane.errors import InvalidRequest, TenantUnavailable
from controlplane.routing.hosts import is_own_domain, parse_base_domain, tenant_name
from controlplane.routing.middleware import Directory
from controlplane.web.asgi import ASGIApp, Receive, Scope, Send, header
from controlplane.web.problems import send_problem

# A reserved subdomain, so no tenant can have it.
_ADMIN = "admin"
_OF_TENANTS = "/api/tenant/"


class HostDispatch:
    """A host with one label before the base domain is a tenant's, and so is a tenant's own domain;
    every other one is the admins'.

    `admin.<base domain>`, the hosts in `ours` and the paths in `anywhere`, on whatever host, are the
    admins' too, and ask nobody whose they are.
    """

    def __init__(
        self,
        *,
        admin: ASGIApp,
        tenant: ASGIApp,
        directory: Directory,
        base_domain: str,
        anywhere: Collection[str],
        ours: Collection[str] = (),
    ) -> None:
        self._admin = admin
        self._tenant = tenant
        self._directory = directory
        self._base_domain = parse_base_domain(base_domain)
        self._anywhere = frozenset(anywhere)
        self._ours = frozenset([_ADMIN, *ours])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self._anywhere:
            return await self._admin(scope, receive, send)
        try:
            tenants = await self._is_tenants(scope)
        except InvalidRequest as error:
            return await send_problem(error, scope, send)
        return await (self._tenant if tenants else self._admin)(scope, receive, send)

    async def _is_tenants(self, scope: Scope) -> bool:
        name = tenant_name(header(scope, b"host") or "", self._base_domain)
        if name is None or name in self._ours:
            return False
        if not is_own_domain(name):
            return True
        try:
            return await self._directory.lookup(name) is not None
        except TenantUnavailable:
            # An API at a name of its own is not to fail with the app servers' login: it lets nobody
            # in without a token. Tenants' requests are for the tenants' side to refuse.
            path: str = scope["path"]
            return path.startswith(_OF_TENANTS)
