"""The running API: whoever speaks at one tenant's host reaches nothing of another tenant's."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest

from tests.database import Server, fresh_database
from tests.integration.routing.own_domains import add_domain
from tests.web.calls import BASE, OPERATIONS, TENANTS, Site, open_site
from tests.web.members import make_tenant

pytestmark = pytest.mark.anyio

INFO = "/api/tenant/info"


@dataclass(frozen=True)
class Pair:
    site: Site
    acme: dict[str, Any]
    globex: dict[str, Any]

    def host(self, tenant: dict[str, Any]) -> str:
        return f"{tenant['subdomain']}.{BASE}"

    def own(self, tenant: dict[str, Any]) -> str:
        """A verified domain of its own."""
        return f"portal.{tenant['subdomain']}.test"

    def hosts(self, tenant: dict[str, Any]) -> tuple[str, str]:
        return self.host(tenant), self.own(tenant)

    async def ask(
        self, path: str, host: str, speaker: str | None = None, **headers: str
    ) -> tuple[int, str]:
        """The status and the text of the answer."""
        async with self.site.client(speaker) as client:
            answer = await client.get(path, headers={**headers, "host": host})
        return answer.status_code, answer.text


@pytest.fixture(scope="module")
async def pair(server: Server) -> AsyncIterator[Pair]:
    with fresh_database(server) as database:
        async with open_site(database) as site:
            async with site.client() as client, site.working():
                acme, globex = [
                    await make_tenant(client, **more) for more in ({}, {"name": "Globex"})
                ]
            made_pair = Pair(site, acme, globex)
            for tenant in (acme, globex):
                add_domain(database.superuser_url, tenant["id"], made_pair.own(tenant))
                unproved = f"claimed.{tenant['subdomain']}.test"
                add_domain(database.superuser_url, globex["id"], unproved, "pending")
            yield made_pair


def _is_of(seen: tuple[int, str], tenant: dict[str, Any], other: dict[str, Any]) -> bool:
    return seen[0] == 200 and tenant["id"] in seen[1] and other["id"] not in seen[1]


async def test_every_spelling_of_a_host_is_its_tenants_or_nobodys(pair: Pair) -> None:
    name = pair.acme["subdomain"]
    other = pair.globex["subdomain"]
    domain, others = pair.own(pair.acme), pair.own(pair.globex)
    own = [f"{name}.{BASE}", f"{name.upper()}.{BASE}.", f"{name}.{BASE}:8443"]
    own += [domain, f"{domain.upper()}.", f"{domain}:8443"]
    nobodys = [
        *(f"{name}.{domain}", f"{domain}.evil.test", f"evil{domain}", f"{domain}.{BASE}"),
        *(domain.removeprefix("portal."), f"{domain}..", f".{domain}", f"{domain}:x"),
        *(f"{others}@{domain}", f"{domain},{others}", f"{domain} {others}", f"xn--{domain}"),
        *(f"{domain}/{others}", f"{domain}%00.{others}", f"[{domain}]", f"{domain}#{others}"),
        *(f"claimed.{name}.test", f"claimed.{other}.test", f"*.{name}.test", f"portal_{domain}"),
        *(f"{other}.{name}.{BASE}", f"{name}.{BASE}.evil.test", f"{name}{BASE}", f"x{name}.{BASE}"),
        *(f"xn--{name}.{BASE}", f"{name}.{BASE},{other}.{BASE}", f"{other}.{BASE}@{name}.{BASE}"),
        *(f"[{name}.{BASE}]", "[::1]:80", "127.0.0.1", BASE, f"{name}..{BASE}", f"{name}.{BASE}:x"),
    ]
    for host in own:
        assert _is_of(await pair.ask(INFO, host), pair.acme, pair.globex), host
    for host in nobodys:
        status, text = await pair.ask(INFO, host)
        assert status in {400, 404}, host
        assert pair.acme["id"] not in text, host
        assert pair.globex["id"] not in text, host


@pytest.mark.parametrize(
    "header",
    [
        *("x-tenant-id", "x_tenant_id", "x-tenant-name", "x-forwarded-host", "x-original-host"),
        *("forwarded", "x-real-ip", "cookie", "authorization", "x-original-url", "origin"),
    ],
)
async def test_no_header_makes_a_host_another_tenants(pair: Pair, header: str) -> None:
    values = (pair.globex["id"], pair.globex["subdomain"], *pair.hosts(pair.globex))
    for host, value in product(pair.hosts(pair.acme), values):
        seen = await pair.ask(INFO, host, **{header: value})
        assert _is_of(seen, pair.acme, pair.globex), (host, header, value)


async def test_the_admin_api_is_nowhere_on_a_tenants_host_whoever_asks(pair: Pair) -> None:
    paths = [
        *(TENANTS, f"{TENANTS}/{pair.globex['id']}", f"{TENANTS}/{pair.acme['id']}", OPERATIONS),
        *(f"{TENANTS}/{pair.globex['subdomain']}", "/api/tenant/../admin/tenants", "//api/admin"),
        *("/api/tenant/%2e%2e/admin/tenants", "/API/ADMIN/TENANTS", "/api/admin/tenants/"),
        *("/api/tenant//info/../../admin/tenants", "/api/admin/findings", "/api/admin/system"),
    ]
    speakers = (None, "admin", "reader")
    for host, speaker, path in product(pair.hosts(pair.acme), speakers, paths):
        status, text = await pair.ask(path, host, speaker)
        assert status in {400, 404}, (host, path, speaker)
        assert pair.globex["id"] not in text.replace(path, ""), (host, path, speaker)


async def test_the_address_names_no_tenant_on_a_tenants_host(pair: Pair) -> None:
    other = pair.globex
    for path in (
        *(f"{INFO}?tenant={other['id']}", f"{INFO}?tenant_id={other['id']}", f"{INFO}?host=x"),
        *(f"{INFO}?subdomain={other['subdomain']}", f"{INFO}#{other['subdomain']}"),
    ):
        assert _is_of(await pair.ask(path, pair.host(pair.acme)), pair.acme, other), path
    for path in (f"{INFO}/{other['id']}", f"/api/tenant/{other['id']}", f"/t/{other['id']}{INFO}"):
        status, text = await pair.ask(path, pair.host(pair.acme))
        assert status == 404, path
        assert "Globex" not in text, path


async def test_answers_to_one_host_are_not_kept_for_another(pair: Pair) -> None:
    for _ in range(3):
        for tenant, other in ((pair.acme, pair.globex), (pair.globex, pair.acme)):
            for host in pair.hosts(tenant):
                assert _is_of(await pair.ask(INFO, host), tenant, other)
    async with pair.site.client(None) as client:
        answer = await client.get(INFO, headers={"host": pair.host(pair.acme)})
    assert "public" not in answer.headers.get("cache-control", "")
    # A shared cache must not answer by path alone: nothing says that it may.
    assert not {"expires", "s-maxage"} & set(answer.headers)
