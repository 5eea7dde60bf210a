"""An HTTP proxy on loopback that answers in the server's place when it is told to.

    async with HttpProxy(upstream) as proxy:
        proxy.faults.append(Fault(429, headers={"Retry-After": "2"}, times=3))
        ...  # talk to proxy.url

What happens to the bytes of a conversation is tests/proxy.py; one may stand before the other.
"""

from typing import Self

import httpx2

from tests.http_server import HOP_BY_HOP, Fault, HttpServer, Request, spelled

__all__ = ["Fault", "HttpProxy", "Request"]


class HttpProxy(HttpServer):
    """Hands on what no fault answers."""

    def __init__(self, upstream: str) -> None:
        super().__init__()
        self._upstream = upstream

    async def __aenter__(self) -> Self:
        client = httpx2.AsyncClient(base_url=self._upstream, trust_env=False, timeout=60)
        self._client = await self._held.enter_async_context(client)
        return await super().__aenter__()

    async def respond(self, request: Request) -> bytes:
        return await self._forward(request)

    async def _forward(self, request: Request) -> bytes:
        headers = {k: v for k, v in request.headers.items() if k not in HOP_BY_HOP}
        answer = await self._client.request(
            request.method, request.target, headers=headers, content=request.body
        )
        return spelled(answer.status_code, answer.headers, answer.content)
