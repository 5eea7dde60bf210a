"""Tenants with domains of their own, asked for by the middlewares of ASGI and of WSGI alike."""

from dataclasses import replace
from typing import Any
from uuid import UUID
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

from controlplane.domain.tenants import TenantState
from controlplane.errors import TenantUnavailable
from controlplane.routing import RoutedTenant, TenantMiddleware, current_tenant
from controlplane.routing.wsgi import TenantWSGIMiddleware

ACME = RoutedTenant(UUID(int=7), "acme", "Acme", TenantState.ACTIVE, "starter", "abc")
GLOBEX = RoutedTenant(UUID(int=8), "globex", "Globex", TenantState.ACTIVE, "starter", "abc")
MOVED = replace(ACME, moved_to="portal.acme.test")
PROXY, STRANGER = "10.1.2.3", "192.0.2.9"
HELD = {
    "acme": ACME,
    "globex": GLOBEX,
    "portal.acme.test": ACME,
    "old.acme.test": MOVED,
    "portal.globex.test": GLOBEX,
    **{f"{state}.test": replace(ACME, state=state) for state in TenantState},
    "old.suspended.test": replace(MOVED, state=TenantState.SUSPENDED),
}


class Listed:
    """Keeps what it was asked for."""

    def __init__(self):
        self.asked = []

    async def lookup(self, name):
        return self.lookup_now(name)

    async def identify(self, tenant_id):
        return self.identify_now(tenant_id)

    def lookup_now(self, name):
        self.asked.append(name)
        return HELD.get(name)

    def identify_now(self, tenant_id):
        return next((tenant for tenant in HELD.values() if tenant.id == tenant_id), None)


class ListedForThreads(Listed):
    lookup = Listed.lookup_now
    identify = Listed.identify_now


class Down:
    async def lookup(self, _name):
        raise TenantUnavailable("The tenant directory does not answer; try again.")


async def app_of_asgi(scope, _receive, send):
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": current_tenant().subdomain.encode()})


async def asgi(host, target="/", *, kind="http", client=STRANGER, headers=(), **options):
    """Status, headers and body of the answer; of a websocket the first message's type."""
    path, _, query = target.partition("?")
    scope = {
        "type": kind,
        "method": "POST",
        "path": path,
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "client": (client, 4711),
        "headers": [(b"host", host.encode()), *headers],
    }
    sent: list[Any] = []

    async def send(message):
        sent.append(message)

    options = {"directory": Listed(), "base_domain": "example.com", **options}
    middleware: Any = TenantMiddleware(app_of_asgi, **options)
    await middleware(scope, None, send)
    if kind == "websocket":
        return sent[0]["type"]
    start, body = sent
    answered = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], answered, body["body"].decode()


def wsgi(host, target="/", *, client=STRANGER, headers=(), environ=None, **options):
    path, _, query = target.partition("?")
    given = {"HTTP_HOST": host, "PATH_INFO": path, "SCRIPT_NAME": "", "QUERY_STRING": query}
    given |= {"REMOTE_ADDR": client, "REQUEST_METHOD": "POST", **(environ or {})}
    given |= {f"HTTP_{k.decode().upper().replace('-', '_')}": v.decode() for k, v in headers}
    setup_testing_defaults(given)

    def app(_environ, start_response):
        start_response("200 OK", [("content-type", "text/plain")])
        return [current_tenant().subdomain.encode()]

    told: list[Any] = []

    def start_response(status, answered, _error=None):
        told[:] = [int(status.split()[0]), {name.lower(): value for name, value in answered}]

    options = {"directory": ListedForThreads(), "base_domain": "example.com", **options}
    body: Any = validator(TenantWSGIMiddleware(app, **options))(given, start_response)
    try:
        content = b"".join(body).decode()
    finally:
        body.close()
    return (*told, content)


async def both(host, target="/", **asked):
    """The answer of the middleware for ASGI, once that for WSGI was seen to be the same."""
    answer = await asgi(host, target, **asked)
    twin = wsgi(host, target, **asked)
    assert (twin[0], twin[1].get("location"), twin[2]) == (
        *(answer[0], answer[1].get("location"), answer[2]),
    )
    return answer
