"""Which application a host belongs to."""

from collections.abc import Collection

from controlplane.errors import InvalidRequest
from controlplane.routing.hosts import parse_base_domain, tenant_label
from controlplane.web.asgi import ASGIApp, Receive, Scope, Send, header
from controlplane.web.problems import send_problem

# A reserved subdomain, so no tenant can have it.
_ADMIN = "admin"


class HostDispatch:
    """A host with one label before the base domain is a tenant's, every other one the admins'.

    `admin.<base domain>` and the paths in `anywhere`, on whatever host, are the admins' too.
    """

    def __init__(
        self, *, admin: ASGIApp, tenant: ASGIApp, base_domain: str, anywhere: Collection[str]
    ) -> None:
        self._admin = admin
        self._tenant = tenant
        self._base_domain = parse_base_domain(base_domain)
        self._anywhere = frozenset(anywhere)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self._anywhere:
            return await self._admin(scope, receive, send)
        try:
            app = self._app_of(scope)
        except InvalidRequest as error:
            return await send_problem(error, scope, send)
        return await app(scope, receive, send)

    def _app_of(self, scope: Scope) -> ASGIApp:
        label = tenant_label(header(scope, b"host") or "", self._base_domain)
        return self._admin if label is None or label == _ADMIN else self._tenant
