"""The application in Litestar."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, Request, Response, get, post
from litestar.params import FromQuery, JSONBody
from psycopg_pool import AsyncConnectionPool

from controlplane.domain.problems import problem, problem_headers
from controlplane.errors import ControlPlaneError
from controlplane.routing import (
    Tenancy,
    TenantDirectory,
    TenantMiddleware,
    TrustedHeader,
    check_login,
    hear,
    listening,
)

from . import documents
from .alarm import alarm
from .documents import Document, NewDocument


def create_app(
    database_url: str, base_domain: str, *, proxies: Sequence[str] = ()
) -> TenantMiddleware:
    """Tenants at `<subdomain>.<base domain>`. What the proxies in these networks say in X-Tenant-Id
    must agree with the host. `database_url` is the app servers' login."""
    pool = AsyncConnectionPool(database_url, min_size=1, max_size=10, open=False)
    tenancy, directory = Tenancy(pool), TenantDirectory(pool)

    @get("/documents")
    async def search(q: FromQuery[str] = "") -> list[Document]:
        async with tenancy.transaction() as conn:
            return await documents.search(conn, q)

    @post("/documents")
    async def create(data: JSONBody[NewDocument]) -> Document:
        async with tenancy.transaction() as conn:
            return await documents.create(conn, data)

    @get("/health")
    async def health() -> str:
        return "ok"

    app = Litestar(
        [search, create, health],
        lifespan=[lambda _: _open(pool), lambda _: listening(database_url, directory)],
        exception_handlers={ControlPlaneError: _answer},
        after_exception=[hear],
        openapi_config=None,
        logging_config=None,
    )
    return TenantMiddleware(
        app,
        directory=directory,
        base_domain=base_domain,
        also=[TrustedHeader(proxies)],
        exempt_paths=["/health"],
        violated=alarm,
        proxies=proxies,
    )


@asynccontextmanager
async def _open(pool: AsyncConnectionPool) -> AsyncIterator[None]:
    """Raises UnsafeDatabaseRole for a login that could see tenants by itself."""
    async with pool:
        async with pool.connection() as conn:
            await check_login(conn)
        yield


def _answer(request: Request[Any, Any, Any], error: ControlPlaneError) -> Response[Any]:
    body = problem(error, instance=request.url.path)
    return Response(body, status_code=error.status, headers=problem_headers(error))
