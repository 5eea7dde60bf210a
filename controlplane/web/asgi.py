"""The types of ASGI, and what the outermost layer leaves in the scope for the inner ones."""

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
# Any: Litestar and servers have scope types of their own.
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]

_EXCHANGE = "controlplane.exchange"


@dataclass
class Exchange:
    """One request as it goes on. `template` is the matched route's, `left`: the client is gone."""

    request_id: str
    template: str | None = None
    status: int | None = None
    left: bool = False


def header(scope: Scope, name: bytes) -> str | None:
    """A header that is there once; None for none and for several."""
    found = [value for key, value in scope["headers"] if key.lower() == name]
    return found[0].decode("latin-1") if len(found) == 1 else None


def exchange_of(scope: Any) -> Exchange:
    """What the outermost layer knows of this request."""
    exchange: Exchange = scope[_EXCHANGE]
    return exchange


def begin_exchange(scope: Scope, request_id: str) -> Exchange:
    """Enter the request's exchange into its scope."""
    scope[_EXCHANGE] = exchange = Exchange(request_id)
    # Where the routing layer looks for it.
    scope["state"] = {**scope.get("state", {}), "request_id": request_id}
    return exchange


def templated(app: ASGIApp) -> ASGIApp:
    """Remembers the route that the framework found: in a copy of the scope nobody else sees it."""

    async def called(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        finally:
            if scope["type"] == "http":
                exchange_of(scope).template = scope.get("path_template")

    return called
