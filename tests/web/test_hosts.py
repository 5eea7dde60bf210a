"""Which host is answered by whom."""

import asyncio

import pytest
from sqlalchemy import text

from tests.web.calls import BASE, TENANTS, Site, make_active, new_tenant

pytestmark = pytest.mark.anyio


async def test_a_tenant_is_served_on_its_own_host_alone(site: Site) -> None:
    body = new_tenant(name="Acme", tier="professional")
    host = f"{body['subdomain']}.{BASE}"
    async with site.client() as client:
        accepted = await client.post(TENANTS, json=body)
        async with site.client(None) as anybody:
            early = await anybody.get("/api/tenant/info", headers={"host": host})
    async with site.client() as client, site.working():
        await client.get(accepted.json()["links"]["events"])
        async with site.client(None) as anybody:
            served = await anybody.get("/api/tenant/info", headers={"host": f"{host}:8080"})
            elsewhere = await anybody.get("/api/tenant/info", headers={"host": f"no-{host}"})
            at_home = await anybody.get("/api/tenant/info")
        deleted = await client.delete(accepted.json()["links"]["tenant"])
        async with asyncio.timeout(100):
            async with site.client(None) as anybody:
                while (
                    late := await anybody.get("/api/tenant/info", headers={"host": host})
                ).is_success:
                    pass
    assert (early.status_code, early.json()["code"]) == (503, "tenant_not_ready")
    assert early.headers["retry-after"]
    assert served.json() == {
        "id": accepted.json()["tenant_id"],
        "name": "Acme",
        "subdomain": body["subdomain"],
        "state": "active",
        "branding": {
            "display_name": "Acme",
            "logo_url": None,
            "primary_color": "#1f6feb",
            "accent_color": None,
        },
    }
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (404, "tenant_not_found")
    assert (at_home.status_code, at_home.json()["code"]) == (404, "not_found")
    assert deleted.status_code == 202
    assert (late.status_code, late.json()["code"]) == (404, "tenant_not_found")


async def test_a_tenant_whose_schema_is_gone_is_not_served_from_elsewhere(site: Site) -> None:
    body = new_tenant()
    async with site.client() as client, site.working():
        made = await make_active(client, body)
        tenant = (await client.get(made["links"]["tenant"])).json()
        async with site.parts.owner.begin() as conn:
            await conn.execute(text(f"DROP SCHEMA {tenant['schema_name']} CASCADE"))
        host = f"{body['subdomain']}.{BASE}"
        async with site.client(None) as anybody:
            answer = await anybody.get("/api/tenant/info", headers={"host": host})
        admin = await client.get(TENANTS, headers={"host": host})
    assert (answer.status_code, answer.json()["code"]) == (503, "tenant_schema_missing")
    assert (admin.status_code, admin.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (BASE, 200),
        (f"admin.{BASE}", 200),
        (f"ADMIN.{BASE}:443", 200),
        ("10.0.0.1:8080", 200),
        ("[::1]:8080", 200),
        (f"a.b.{BASE}", 200),
        (f"api.{BASE}", 404),
        (f"www.{BASE}.", 404),
        ("a b", 400),
        ("x" * 300, 400),
        ("", 400),
    ],
)
async def test_the_admin_api_is_on_every_host_but_the_tenants(
    site: Site, host: str, status: int
) -> None:
    async with site.client() as client:
        answer = await client.get(TENANTS, headers={"host": host})
    assert answer.status_code == status


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/api/app/info"])
@pytest.mark.parametrize("host", [f"nobody.{BASE}", BASE, "10.0.0.1"])
async def test_probes_are_answered_on_any_host(site: Site, path: str, host: str) -> None:
    async with site.client(None) as client:
        answer = await client.get(path, headers={"host": host})
    assert answer.status_code == 200


async def test_two_host_headers_are_refused(site: Site) -> None:
    async with site.client() as client:
        headers = [("host", BASE), ("host", f"acme.{BASE}")]
        answer = await client.get(TENANTS, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
