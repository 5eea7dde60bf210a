"""What must see every request, also one that no route matches: pure ASGI, outside the framework.

Request id, access log, duration, security headers and the last resort for errors.
"""

import re
import time
from collections.abc import Iterable, Iterator
from uuid import uuid4

import structlog
from prometheus_client import CollectorRegistry, Histogram

from controlplane.errors import ControlPlaneError
from controlplane.web.asgi import (
    ASGIApp,
    Exchange,
    Message,
    Receive,
    Scope,
    Send,
    begin_exchange,
    header,
)
from controlplane.web.problems import send_problem

log = structlog.get_logger()

_REQUEST_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_SECURITY = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cache-control": b"no-store",
}
_TRANSPORT = {b"strict-transport-security": b"max-age=31536000"}
# Whoever sends a request chooses its method; what we do not know is one value.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Outer:
    """Calls `app` and makes sure that every request is named, logged, timed and answered.

    Durations go to `registry`, by the route's template, the method and the class of the status.
    """

    def __init__(self, app: ASGIApp, *, registry: CollectorRegistry | None = None) -> None:
        self._app = app
        self._durations = Histogram(
            "controlplane_http_request_duration_seconds",
            "HTTP requests: how many, and how long they took.",
            ["method", "route", "status"],
            buckets=_BUCKETS,
            registry=registry,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        exchange = begin_exchange(scope, _request_id(scope))
        began = time.perf_counter()
        try:
            with structlog.contextvars.bound_contextvars(request_id=exchange.request_id):
                await self._answer(exchange, scope, receive, send)
        finally:
            self._note(exchange, scope["method"], time.perf_counter() - began)

    def _note(self, exchange: Exchange, method: str, seconds: float) -> None:
        log.info(
            "request",
            method=method,
            # The template, never the path or the query: they may hold what is nobody's business.
            path=exchange.template,
            status=exchange.status,
            seconds=round(seconds, 6),
            request_id=exchange.request_id,
        )
        known = method if method in _METHODS else "other"
        status = "none" if exchange.status is None else f"{exchange.status // 100}xx"
        self._durations.labels(known, exchange.template or "none", status).observe(seconds)

    async def _answer(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        async def watched_receive() -> Message:
            message = await receive()
            exchange.left = exchange.left or message["type"] == "http.disconnect"
            return message

        async def watched_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                message = {**message, "headers": [*_headers(message["headers"], exchange, scope)]}
            await send(message)

        try:
            await self._app(scope, watched_receive, watched_send)
        except Exception as error:
            # The last resort of a request: no client sees our insides.
            if exchange.left:
                # Mostly the write into a closed connection; a bug must be seen all the same.
                log.warning("request_left", error=type(error).__name__)
                return
            log.exception("request_failed", error=type(error).__name__)
            if exchange.status is not None:
                raise
            await send_problem(ControlPlaneError(), scope, watched_send)


def _headers(
    answered: Iterable[tuple[bytes, bytes]], exchange: Exchange, scope: Scope
) -> Iterator[tuple[bytes, bytes]]:
    secure = _TRANSPORT if scope.get("scheme") == "https" else {}
    given = set()
    for name, value in answered:
        given.add(name.lower())
        yield name, value
    yield b"x-request-id", exchange.request_id.encode()
    for name, value in {**_SECURITY, **secure}.items():
        if name not in given:
            yield name, value


def _request_id(scope: Scope) -> str:
    given = header(scope, b"x-request-id") or ""
    return given if _REQUEST_ID.fullmatch(given) else uuid4().hex
