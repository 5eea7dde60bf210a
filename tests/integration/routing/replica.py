"""One replica of an app server: answers with the first note of the host's tenant.

    python -m tests.integration.routing.replica FD notify|redis|both|nothing

`DATABASE_URL` and `REDIS_URL` are in the environment; FD is the socket to serve on.
"""

import asyncio
import os
import socket
import sys
from typing import Any

import uvicorn
from psycopg_pool import AsyncConnectionPool

from controlplane.routing import Tenancy, TenantDirectory, TenantMiddleware, listen
from controlplane.routing.redis_cache import RedisCache
from controlplane.routing.redis_hints import listen_redis
from controlplane.testing.ground import BASE_DOMAIN


async def main(descriptor: int, hears: str) -> None:
    url, redis_url = (os.environ[name] for name in ("DATABASE_URL", "REDIS_URL"))  # noqa: TID251  a process of its own
    pool = AsyncConnectionPool(url, min_size=1, max_size=2, open=False)
    async with pool, RedisCache(redis_url, installation="replicas") as cache:
        directory = TenantDirectory(pool, shared=cache)
        listeners = []
        if hears in {"notify", "both"}:
            listeners.append(asyncio.create_task(listen(url, directory)))
        if hears in {"redis", "both"}:
            listeners.append(asyncio.create_task(listen_redis(cache, directory)))
        app = TenantMiddleware(_notes(pool), directory=directory, base_domain=BASE_DOMAIN)
        config = uvicorn.Config(app, lifespan="off", log_level="warning", proxy_headers=False)
        await uvicorn.Server(config).serve(sockets=[socket.socket(fileno=descriptor)])
        for listener in listeners:
            listener.cancel()
        await asyncio.gather(*listeners, return_exceptions=True)


def _notes(pool: AsyncConnectionPool) -> Any:
    tenancy = Tenancy(pool)

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        async with tenancy.transaction() as conn:
            row = await (await conn.execute("SELECT body FROM notes WHERE id = 1")).fetchone()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(row and row[0]).encode()})

    return app


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
