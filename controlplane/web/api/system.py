"""What probes and browsers ask of the process itself, on any host and without a token."""

import asyncio
from typing import Literal

from litestar import get
from msgspec import Struct
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from controlplane import __version__
from controlplane.errors import NotReady
from controlplane.store.migrate import public_head
from controlplane.web.openapi import problems
from controlplane.web.request import ApiRequest, reading

_PATIENCE_S = 3.0

PATHS = ("/health/live", "/health/ready", "/api/app/info")


class Health(Struct):
    """`checks` names what was looked at."""

    status: Literal["ok"]
    checks: list[str]


class AppInfo(Struct):
    """The release, and how tenants are told apart."""

    version: str
    mode: Literal["multi_tenant"]


@get(
    "/health/live",
    operation_id="getLiveness",
    summary="Whether the process runs",
    tags=["system"],
    responses=problems(),
)
async def live() -> Health:
    """The process answers; nothing else is looked at."""
    return Health("ok", [])


@get(
    "/health/ready",
    operation_id="getReadiness",
    summary="Whether requests can be served",
    tags=["system"],
    responses=problems(),
)
async def ready(request: ApiRequest) -> Health:
    """The database answers and has the public schema of this release; 503 names what is missing."""
    found = await _revision(request)
    if found != public_head():
        raise NotReady(
            f"migrations: the public schema is at '{found}', this release needs '{public_head()}'."
        )
    return Health("ok", ["database", "migrations"])


async def _revision(request: ApiRequest) -> str | None:
    """The public schema's revision. Raises NotReady where the database does not tell in time."""
    query = text("SELECT version_num FROM public.alembic_version_public")
    try:
        async with asyncio.timeout(_PATIENCE_S), reading(request.parts) as conn:
            found: str | None = (await conn.execute(query)).scalar_one_or_none()
            return found
    except (SQLAlchemyError, TimeoutError) as error:
        raise NotReady("database: it does not answer.") from error


@get(
    "/api/app/info",
    operation_id="getAppInfo",
    summary="The release",
    tags=["system"],
    responses=problems(),
)
async def app_info() -> AppInfo:
    """Which release this is."""
    return AppInfo(__version__, "multi_tenant")


handlers = (live, ready, app_info)
