"""The limit on a request's body, announced or not."""

from controlplane.errors import BodyTooLarge, InvalidRequest
from controlplane.web.asgi import ASGIApp, Message, Receive, Scope, Send, header
from controlplane.web.problems import send_problem


class BodyLimit:
    """Answers 413 to a larger body before `app` is called; to one that does not announce its
    length, `receive` raises BodyTooLarge as soon as it is known."""

    def __init__(self, app: ASGIApp, *, limit_bytes: int) -> None:
        self._app = app
        self._limit = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        announced = header(scope, b"content-length") or "0"
        if not (announced.isascii() and announced.isdigit()):
            error = InvalidRequest("The Content-Length is not a number.")
            return await send_problem(error, scope, send)
        if int(announced[:20]) > self._limit:
            return await send_problem(self._too_large(), scope, send)
        return await self._app(scope, self._counted(receive), send)

    def _counted(self, receive: Receive) -> Receive:
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._limit:
                raise self._too_large()
            return message

        return counted

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"The body may have at most {self._limit} bytes.")
