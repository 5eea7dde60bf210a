"""One tenant alone: no host names it, and it must be the only one there is."""

import httpx
import pytest

from controlplane.errors import StartupError
from controlplane.routing import (
    OnlyTenant,
    TenantDirectory,
    TenantMiddleware,
    current_tenant,
    only_tenant,
)

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


@pytest.fixture
def alone(world):
    world.do("UPDATE public.tenants SET state = 'purged' WHERE subdomain = 'globex'")
    return world.acme


async def test_the_one_tenant_is_found_and_whoever_is_gone_is_not_counted(pool, alone):
    assert await only_tenant(pool) == OnlyTenant(alone.id)


@pytest.mark.parametrize("state", ["active", "suspended", "deleted", "provisioning"])
async def test_beside_a_second_tenant_it_does_not_start(pool, alone, world, state):
    world.add("initech", state)
    assert alone
    with pytest.raises(StartupError, match="there are several"):
        await only_tenant(pool)


async def test_without_any_tenant_it_does_not_start(pool, world):
    world.do("DELETE FROM public.tenants")
    with pytest.raises(StartupError, match="there is none"):
        await only_tenant(pool)


async def test_where_the_registry_cannot_be_read_it_does_not_start(pool, world):
    world.do("DROP VIEW public.tenant_registry")
    with pytest.raises(StartupError, match="does not answer"):
        await only_tenant(pool)


async def answer_whose(_scope, _receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": current_tenant().subdomain.encode()})


async def test_every_host_is_its_own_but_one_that_names_another(pool, alone, world):
    directory = TenantDirectory(pool)
    app = TenantMiddleware(
        answer_whose,
        directory=directory,
        base_domain="example.com",
        also=[await only_tenant(pool)],
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        hosts = ("example.com", "localhost", "192.0.2.7", "intranet", "acme.example.com")
        answers = [(await client.get(f"http://{host}/")).text for host in hosts]
        other = await client.get("http://initech.example.com/")
        world.do("UPDATE public.tenants SET state = 'suspended' WHERE subdomain = 'acme'")
        directory.forget()
        suspended = await client.get("http://localhost/")
    assert answers == [alone.subdomain] * len(hosts)
    assert other.status_code == 404
    assert (suspended.status_code, suspended.json()["code"]) == (403, "tenant_suspended")
