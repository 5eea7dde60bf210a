"""A change is heard at once: these directories ask for none, only the notification can tell them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import psycopg
import pytest

from controlplane.routing import Ages, TenantDirectory
from controlplane.web.app import create_app
from examples.app_server import fastapi_app, litestar_app
from tests.integration.edge.place import ask, served
from tests.web.calls import Site, make_active, new_tenant

pytestmark = pytest.mark.anyio

# No test lasts so long.
NEVER_ASKING = partial(TenantDirectory, ages=Ages(fresh_s=3600))


@pytest.fixture
async def listeners(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[dict[str, tuple[int, str]]]:
    """The port of each, and a path that a tenant is served at."""
    for module in (litestar_app, fastapi_app):
        monkeypatch.setattr(module, "TenantDirectory", NEVER_ASKING)
    url = site.database.app_url
    api = create_app(replace(site.parts, directory=NEVER_ASKING(site.parts.app_pool)))
    apps = {
        "the API": (api, "/api/tenant/info"),
        "Litestar": (litestar_app.create_app(url, "localhost"), "/documents"),
        "FastAPI": (fastapi_app.create_app(url, "localhost"), "/documents"),
    }
    async with AsyncExitStack() as stack:
        yield {
            name: (await stack.enter_async_context(served(app)), path)
            for name, (app, path) in apps.items()
        }


async def _answers(listeners: dict[str, tuple[int, str]], host: str) -> dict[str, int]:
    return {
        name: (await ask(port, host, path)).status_code for name, (port, path) in listeners.items()
    }


async def _until(holds: Any) -> None:
    async with asyncio.timeout(60):
        while not await holds():  # noqa: ASYNC110  the condition is another process's
            await asyncio.sleep(0.05)


async def _listening(site: Site) -> bool:
    async with await psycopg.AsyncConnection.connect(site.database.superuser_url) as conn:
        found = await conn.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND query = 'LISTEN controlplane_tenants' AND state = 'idle'"
        )
        return await found.fetchone() == (3,)


async def test_a_suspension_is_heard_by_the_api_and_by_both_sample_applications(
    site: Site, listeners: dict[str, tuple[int, str]]
) -> None:
    body = new_tenant()
    host = f"{body['subdomain']}.localhost"
    async with site.client() as client, site.working():
        address = (await make_active(client, body))["links"]["tenant"]

        async def all_answer(status: int) -> bool:
            return set((await _answers(listeners, host)).values()) == {status}

        await _until(partial(_listening, site))
        await _until(partial(all_answer, 200))
        await client.post(f"{address}/suspend")
        await _until(partial(all_answer, 403))
