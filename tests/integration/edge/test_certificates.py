"""Caddy gets certificates for tenants' own domains, and for nobody else's: end to end."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.integration.edge.authority import Authority, authority, proxied, served, visit
from tests.integration.edge.place import Place, ask
from tests.integration.routing.own_domains import add_domain, set_domain
from tests.web.calls import Site

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.requires("caddy", "pebble", "pebble-challtestsrv"),
]


@pytest.fixture(scope="module")
async def by(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Authority]:
    async with authority(tmp_path_factory.mktemp("authority")) as opened:
        yield opened


async def _is_refused(by: Authority, host: str) -> bool:
    try:
        await visit(by, host)
    except httpx.ConnectError as error:
        return "TLSV1_ALERT_INTERNAL_ERROR" in str(error)
    return False


async def test_a_verified_domain_has_a_certificate_and_its_tenant_and_no_other_has_one(
    place: Place, site: Site, by: Authority, tmp_path: Path
) -> None:
    url = site.database.superuser_url
    for who in ("acme", "globex"):
        add_domain(url, place.ids[who], f"portal.{who}.test", primary=True)
        new = {"name": f"{who}.pdf", "mime_type": "application/pdf", "size_bytes": 1}
        assert (await ask(place.app_server, f"{who}.localhost", json=new)).status_code == 201
    add_domain(url, place.ids["acme"], "www.acme.test", redirects=True)
    add_domain(url, place.ids["acme"], "new.acme.test", "pending")
    add_domain(url, place.ids["initech"], "portal.initech.test")
    async with proxied(place, by, tmp_path):
        for who, other in (("acme", "globex"), ("globex", "acme")):
            page = await served(by, f"portal.{who}.test")
            assert page.status_code == 200
            assert f"{who}.pdf" in page.text
            assert f"{other}.pdf" not in page.text
        moved = await served(by, "www.acme.test", "/documents/%2F?q=%20&next=//evil.test")
        assert moved.status_code == 308
        assert moved.headers["location"] == (
            "https://portal.acme.test/documents/%2F?q=%20&next=//evil.test"
        )
        suspended = await served(by, "portal.initech.test")
        assert (suspended.status_code, suspended.json()["code"]) == (403, "tenant_suspended")
        for host in ("new.acme.test", "nobody.test", "x.portal.acme.test", "nobody.localhost"):
            assert await _is_refused(by, host), host


async def test_a_domain_that_was_lost_gets_no_new_certificate_until_it_is_proven_again(
    place: Place, site: Site, by: Authority, tmp_path_factory: pytest.TempPathFactory
) -> None:
    url, host = site.database.superuser_url, "late.acme.test"

    async def until_allowed(status: int) -> None:
        async with asyncio.timeout(60):
            while (  # noqa: ASYNC110  the condition is another process's
                await ask(place.controlplane, "internal", f"/api/edge/tls-allowed?domain={host}")
            ).status_code != status:
                await asyncio.sleep(0.05)

    add_domain(url, place.ids["acme"], host)
    async with proxied(place, by, tmp_path_factory.mktemp("first")):
        assert (await served(by, host)).status_code == 200
        set_domain(url, host, "lost")
        await until_allowed(404)
    # Another one, which has nothing of the first.
    async with proxied(place, by, tmp_path_factory.mktemp("second")):
        assert await _is_refused(by, host)
        set_domain(url, host, "verified")
        await until_allowed(200)
        assert (await served(by, host)).status_code == 200
