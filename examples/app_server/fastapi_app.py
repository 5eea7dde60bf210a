"""The application in FastAPI."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI
from psycopg_pool import AsyncConnectionPool

from controlplane.errors import ControlPlaneError
from controlplane.routing import (
    Tenancy,
    TenantDirectory,
    TenantMiddleware,
    TrustedHeader,
    check_login,
    listening,
    refused,
)

from . import documents
from .alarm import alarm
from .documents import Document, NewDocument


def create_app(
    database_url: str, base_domain: str, *, proxies: Sequence[str] = ()
) -> TenantMiddleware:
    """As the one in Litestar."""
    pool = AsyncConnectionPool(database_url, min_size=1, max_size=10, open=False)
    tenancy, directory = Tenancy(pool), TenantDirectory(pool)

    @asynccontextmanager
    async def opened(_: FastAPI) -> AsyncIterator[None]:
        async with pool, listening(database_url, directory):
            async with pool.connection() as conn:
                await check_login(conn)
            yield

    app = FastAPI(lifespan=opened, openapi_url=None)
    app.add_exception_handler(ControlPlaneError, refused)

    @app.get("/documents")
    async def search(q: str = "") -> list[Document]:
        async with tenancy.transaction() as conn:
            return await documents.search(conn, q)

    @app.post("/documents", status_code=201)
    async def create(new: NewDocument) -> Document:
        async with tenancy.transaction() as conn:
            return await documents.create(conn, new)

    @app.get("/health")
    async def health() -> str:
        return "ok"

    return TenantMiddleware(
        app,
        directory=directory,
        base_domain=base_domain,
        also=[TrustedHeader(proxies)],
        exempt_paths=["/health"],
        violated=alarm,
        proxies=proxies,
    )
