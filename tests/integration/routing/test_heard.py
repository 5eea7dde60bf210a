"""What frameworks answer by themselves is heard as a violation too, each once."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from litestar import Litestar, get
from psycopg import sql
from psycopg_pool import AsyncConnectionPool

from controlplane.errors import ControlPlaneError
from controlplane.routing import (
    Tenancy,
    TenantDirectory,
    TenantMiddleware,
    Violation,
    hear,
    refused,
)

pytestmark = pytest.mark.anyio

BASE = "example.com"


def in_fastapi(read: Callable[[], Any]) -> Any:
    app = FastAPI()
    app.add_exception_handler(ControlPlaneError, refused)
    app.get("/notes")(read)
    return app


def in_litestar(read: Callable[[], Any]) -> Any:
    handler = get("/notes", media_type="application/json")(read)
    return Litestar([handler], after_exception=[hear], openapi_config=None, logging_config=None)


@pytest.mark.parametrize("framework", [in_fastapi, in_litestar])
@pytest.mark.parametrize("kind", ["denied", "tenant_schema_missing"])
async def test_a_framework_that_answers_by_itself_lets_the_violation_be_heard(
    world: Any, pool: AsyncConnectionPool, framework: Callable[..., Any], kind: str
) -> None:
    tenancy = Tenancy(pool)
    others = sql.SQL("SELECT body FROM {}").format(sql.Identifier(world.globex.schema, "notes"))

    async def read() -> None:
        async with tenancy.transaction() as conn:
            await conn.execute(others)

    if kind == "tenant_schema_missing":
        world.do("DROP SCHEMA {tenant} CASCADE", tenant=world.acme.schema)
    heard: list[Violation] = []
    app = TenantMiddleware(
        framework(read), directory=TenantDirectory(pool), base_domain=BASE, violated=heard.append
    )
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://acme.{BASE}") as client:
        answer = await client.get("/notes")
    assert answer.status_code >= 500
    assert "globex" not in answer.text
    assert [(violation.kind, violation.tenant) for violation in heard] == [(kind, world.acme)]
