"""A control plane and the sample app server on loopback, and two tenants with the same documents."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from examples.app_server import fastapi_app, litestar_app
from tests.database import Server, fresh_database
from tests.integration.edge.place import Place, Seen, served
from tests.web.calls import TENANTS, Site, make_active, open_site

LOOPBACK = "127.0.0.0/8"
_APPS = {"litestar": litestar_app.create_app, "fastapi": fastapi_app.create_app}


@pytest.fixture(scope="module")
async def site(server: Server) -> AsyncIterator[Site]:
    with fresh_database(server) as database:
        settings = {
            "CONTROLPLANE_BASE_DOMAIN": "localhost",
            "CONTROLPLANE_TRUSTED_PROXIES": LOOPBACK,
        }
        async with open_site(database, **settings) as opened:
            yield opened


@pytest.fixture(scope="module")
async def ids(site: Site) -> dict[str, str]:
    """Ids of acme and globex, which are active, and of initech, which is suspended."""
    found = {}
    async with site.client() as client, site.working():
        for name in ("acme", "globex", "initech"):
            body = {"name": f"{name} & Søn", "subdomain": name, "admin_email": "ada@acme.test"}
            found[name] = (await make_active(client, body))["tenant_id"]
        accepted = await client.post(f"{TENANTS}/{found['initech']}/suspend")
        await client.get(accepted.json()["links"]["events"])
    return found


@pytest.fixture(scope="module")
async def place(site: Site, ids: dict[str, str], request: Any) -> AsyncIterator[Place]:
    create = _APPS[getattr(request, "param", "litestar")]
    app = create(site.database.app_url, "localhost", proxies=[LOOPBACK])
    async with served(site.app) as controlplane, served(app) as app_server:
        yield Place(controlplane, app_server, ids)


@pytest.fixture
async def seen() -> AsyncIterator[Seen]:
    app = Seen()
    async with served(app) as port:
        app.port = port
        yield app
