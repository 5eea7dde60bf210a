"""OPTIONS: which methods a path allows."""

from http import HTTPStatus

from controlplane.web.asgi import ASGIApp, Message, Receive, Scope, Send

# Litestar routes no TRACE, so it answers with the methods that it does route.
_NEVER_ROUTED = "TRACE"
_REFUSED = HTTPStatus.METHOD_NOT_ALLOWED


def answering_options(app: ASGIApp) -> ASGIApp:
    """Answers OPTIONS for all handlers of a path; Litestar's own answer knows only one of them."""

    async def called(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            return await app({**scope, "method": _NEVER_ROUTED}, receive, _as_options(send))
        return await app(scope, receive, send)

    return called


def _as_options(send: Send) -> Send:
    allowed = False

    async def sent(message: Message) -> None:
        nonlocal allowed
        if message["type"] == "http.response.start" and message["status"] == _REFUSED:
            allowed = True
            headers = [(name, value) for name, value in message["headers"] if name == b"allow"]
            message = {**message, "status": int(HTTPStatus.NO_CONTENT), "headers": headers}
        elif allowed:
            message = {**message, "body": b""}
        await send(message)

    return sent
