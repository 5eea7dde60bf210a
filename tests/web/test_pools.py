"""The API's own pools on /metrics."""

import pytest

from tests.web.calls import BASE, TENANTS, Site
from tests.web.test_metrics import scraped

pytestmark = pytest.mark.anyio


async def test_each_pool_of_the_process_is_told_by_its_login(site: Site) -> None:
    async with site.client() as client:
        before = await scraped(client)
        async with site.parts.control.connect(), site.parts.app_pool.connection():
            held = await scraped(client)
        await client.get(TENANTS)
        after = await scraped(client)
    for pool in ("control", "app"):
        assert before["controlplane_pool_connections_limit", pool] >= 10
        assert held["controlplane_pool_connections_used", pool] >= 1
        assert held["controlplane_pool_connections", pool] >= 1
        asked = [seen["controlplane_pool_requests_total", pool] for seen in (before, held)]
        assert asked[0] < asked[1]
        assert after["controlplane_pool_waiting", pool] == 0
        assert after["controlplane_pool_failures_total", pool] == 0


async def test_what_belongs_to_no_tenant_never_asks_for_a_tenants_connection(site: Site) -> None:
    hosts = [f"nobody.{BASE}", f"admin.{BASE}", BASE, "10.0.0.1", "internal"]
    paths = ["/health/live", "/health/ready", "/api/app/info", "/api/openapi.json", "/metrics"]
    asked = site.parts.app_pool.get_stats().get("requests_num", 0)
    async with site.client() as client:
        for host in hosts:
            for path in [*paths, TENANTS]:
                if host.startswith("nobody") and path in {"/metrics", TENANTS}:
                    continue
                answer = await client.get(path, headers={"host": host})
                assert answer.status_code in {200, 404}, (host, path)
    assert site.parts.app_pool.get_stats().get("requests_num", 0) == asked


async def test_a_tenants_host_asks_for_one(site: Site) -> None:
    asked = site.parts.app_pool.get_stats().get("requests_num", 0)
    async with site.client(None) as client:
        await client.get("/api/tenant/info", headers={"host": f"nobody.{BASE}"})
    assert site.parts.app_pool.get_stats().get("requests_num", 0) > asked
