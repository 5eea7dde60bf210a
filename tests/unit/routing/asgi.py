"""An application and a directory for the middleware, and how it is called."""

import json
from uuid import UUID

from controlplane.domain.tenants import TenantState
from controlplane.errors import MissingTenantContext, TenantUnavailable
from controlplane.routing import RoutedTenant, TenantMiddleware, current_tenant


class Listed:
    """A directory of one tenant for each state, its subdomain being the state's name."""

    async def lookup(self, subdomain):
        if subdomain not in set(TenantState):
            return None
        state = TenantState(subdomain)
        return RoutedTenant(UUID(int=7), subdomain, "Acme", state, "starter", "abc")

    async def identify(self, tenant_id):
        return await self.lookup("active") if tenant_id == UUID(int=7) else None


class Down:
    async def lookup(self, _subdomain):
        raise TenantUnavailable("The tenant directory does not answer; try again.")


class Broken:
    async def lookup(self, _subdomain):
        raise OSError("no such thing")


class App:
    """Answers 200 in two chunks and keeps what it saw."""

    def __init__(self):
        self.scopes = []
        self.tenants = []

    async def __call__(self, scope, _receive, send):
        self.scopes.append(scope)
        if scope["type"] == "lifespan":
            return
        self._note()
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        self._note()
        await send({"type": "http.response.body", "body": b"b"})

    def _note(self):
        try:
            self.tenants.append(current_tenant().subdomain)
        except MissingTenantContext:
            self.tenants.append(None)


def request(host="active.example.com", **changes):
    headers = [(b"host", host.encode("latin-1"))]
    scope = {"type": "http", "method": "GET", "path": "/p", "headers": headers}
    return scope | changes


async def call(middleware, scope):
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    await middleware(scope, receive, send)
    return sent


def wrap(app, directory=None, **options):
    return TenantMiddleware(
        app, directory=directory or Listed(), base_domain="example.com", **options
    )


def answer(sent):
    """Status, headers and problem of a refusal."""
    start, body = sent
    return start["status"], dict(start["headers"]), json.loads(body["body"])
