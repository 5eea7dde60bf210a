"""Tenants' own domains at the API: their endpoints, the edge, and who may have a certificate."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from controlplane.errors import TenantUnavailable
from controlplane.routing import Ages, RoutedTenant, TenantDirectory
from controlplane.web.api.tls import Line
from controlplane.web.app import create_app
from tests.database import Server, fresh_database
from tests.integration.routing.own_domains import add_domain, run, set_domain
from tests.web.calls import BASE, TENANTS, Site, fresh_subdomain, make_active, new_tenant, open_site

pytestmark = pytest.mark.anyio

EDGE, TLS, INFO = "/api/edge/resolve", "/api/edge/tls-allowed", "/api/tenant/info"
PROXY = "10.1.2.3"
OWN, OLD, PENDING, LOST = "portal.acme.test", "old.acme.test", "new.acme.test", "lost.acme.test"


@dataclass(frozen=True)
class Place:
    """A site whose directory asks for changes before each answer; a tenant with domains in it."""

    site: Site
    app: Any
    id: str
    subdomain: str

    async def get(
        self, path: str, host: str = "internal", *, peer: str = PROXY, app: Any = None, **asked: Any
    ) -> httpx.Response:
        transport = httpx.ASGITransport(app or self.app, client=(peer, 4711))
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            return await client.get(path, **asked)

    async def allowed(self, domain: str) -> int:
        return (await self.get(TLS, params={"domain": domain})).status_code

    def set_state(self, state: str) -> None:
        change = "UPDATE public.tenants SET state = %s WHERE id = %s"
        run(self.site.database.superuser_url, change, [state, self.id])


class Down:
    """A directory that does not answer, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def lookup(self, name: str) -> RoutedTenant | None:
        self.asked.append(name)
        raise TenantUnavailable("The tenant directory does not answer; try again.")


@pytest.fixture(scope="module")
async def place(server: Server) -> AsyncIterator[Place]:
    with fresh_database(server) as database:
        proxies = {"CONTROLPLANE_TRUSTED_PROXIES": "10.0.0.0/8"}
        async with open_site(database, **proxies) as site:
            body = new_tenant(subdomain=fresh_subdomain())
            async with site.client() as client, site.working():
                made = await make_active(client, body)
            tenant_id, url = made["tenant_id"], database.superuser_url
            add_domain(url, tenant_id, OWN, primary=True)
            add_domain(url, tenant_id, OLD, redirects=True)
            add_domain(url, tenant_id, PENDING, "pending")
            add_domain(url, tenant_id, LOST, "lost")
            directory = TenantDirectory(site.parts.app_pool, ages=Ages(fresh_s=0))
            app = create_app(replace(site.parts, directory=directory))
            yield Place(site, app, tenant_id, body["subdomain"])


async def test_a_tenants_endpoints_are_at_its_own_domain_and_the_admins_are_not(
    place: Place,
) -> None:
    token = {"authorization": f"Bearer {place.site.tokens['admin']}"}
    info = await place.get(INFO, OWN)
    assert (info.status_code, info.json()["id"]) == (200, place.id)
    for path in (TENANTS, "/metrics", "/api/admin/system"):
        assert (await place.get(path, OWN, headers=token)).status_code == 404
    assert (await place.get("/health/live", OWN)).status_code == 200


@pytest.mark.parametrize("host", [PENDING, LOST, "nobody.test", f"x.{OWN}"])
async def test_a_host_that_is_nobodys_is_the_admins(place: Place, host: str) -> None:
    token = {"authorization": f"Bearer {place.site.tokens['admin']}"}
    info = await place.get(INFO, host)
    assert (info.status_code, info.json()["code"]) == (404, "not_found")
    assert (await place.get(TENANTS, host, headers=token)).status_code == 200


async def test_a_host_that_has_moved_leads_to_the_primary_one(place: Place) -> None:
    answer = await place.get(f"{INFO}?a=%2F&b", OLD)
    assert answer.status_code == 308
    assert answer.headers["location"] == f"https://{OWN}{INFO}?a=%2F&b"
    assert answer.headers["cache-control"] == "no-store"
    plain = await place.get(INFO, OLD, headers={"x-forwarded-proto": "http"})
    assert plain.headers["location"] == f"http://{OWN}{INFO}"
    stranger = await place.get(INFO, OLD, peer="192.0.2.9", headers={"x-forwarded-proto": "http"})
    assert stranger.headers["location"] == f"https://{OWN}{INFO}"


async def test_without_the_directory_tenants_are_refused_and_admins_are_not(place: Place) -> None:
    down: Any = Down()
    app = create_app(replace(place.site.parts, directory=down))
    token = {"authorization": f"Bearer {place.site.tokens['admin']}"}
    assert (await place.get(INFO, OWN, app=app)).status_code == 503
    assert (await place.get(TENANTS, "api.corp.test", app=app, headers=token)).status_code == 200
    assert (await place.get(f"{TLS}?domain={OWN}", app=app)).status_code == 503


async def test_about_the_apis_own_name_nobody_is_asked(place: Place) -> None:
    directory: Any = Down()
    settings = place.site.parts.settings
    named = settings.model_copy(update={"domains_refused": ("api.corp.test",)})
    app = create_app(replace(place.site.parts, directory=directory, settings=named))
    token = {"authorization": f"Bearer {place.site.tokens['admin']}"}
    for path in (TENANTS, "/metrics"):
        answer = await place.get(path, "API.corp.test:443", app=app, headers=token)
        assert answer.status_code == 200
    assert directory.asked == []
    await place.get(TENANTS, "x.api.corp.test", app=app, headers=token)
    assert directory.asked == ["x.api.corp.test"]


async def test_the_edge_knows_own_domains(place: Place) -> None:
    asked = {"x-forwarded-host": OWN, "x-forwarded-uri": "/a"}
    found = await place.get(EDGE, headers=asked)
    assert (found.status_code, found.json()["id"]) == (200, place.id)
    assert found.json()["moved_to"] is None
    for host in (PENDING, LOST, "nobody.test"):
        refused = await place.get(EDGE, headers={"x-forwarded-host": host})
        assert (refused.status_code, refused.json()["code"]) == (404, "tenant_required")


async def test_the_edge_sends_on_whom_a_proxy_asks_for(place: Place) -> None:
    asked = {"x-forwarded-host": OLD, "x-forwarded-uri": "/a%20b?c=%2F"}
    sent = await place.get(EDGE, headers=asked)
    assert (sent.status_code, sent.content) == (308, b"")
    assert sent.headers["location"] == f"https://{OWN}/a%20b?c=%2F"
    assert "x-tenant-id" not in sent.headers
    forged = await place.get(EDGE, headers=asked | {"x-forwarded-uri": "@evil.test/"})
    assert forged.headers["location"] == f"https://{OWN}/"
    token = {"authorization": f"Bearer {place.site.tokens['reader']}"}
    for how in (
        {"headers": {"x-forwarded-host": OLD}},
        {"headers": {**asked, "upgrade": "websocket"}},
        {"headers": token, "params": {"host": OLD}},
    ):
        served: Any = await place.get(EDGE, **how)  # type: ignore[arg-type]  # what get() passes on
        assert (served.status_code, served.json()["moved_to"]) == (200, OWN)


@pytest.mark.parametrize(
    ("domain", "status"),
    [
        *((OWN, 200), (OWN.upper(), 200), (OLD, 200), (BASE, 200), (f"admin.{BASE}", 200)),
        *((PENDING, 404), (LOST, 404), ("nobody.test", 404), (f"x.{OWN}", 404)),
        *((f"nobody.{BASE}", 404), (f"a.b.{BASE}", 404), (f"www.{BASE}", 404)),
        *(("127.0.0.1", 404), ("[::1]", 404), ("internal", 404), ("", 404), ("a b", 404)),
        *((f"ada@{OWN}", 404), ("x" * 300, 404), ("pörtal.acme.test", 404), ("*.acme.test", 404)),
    ],
)
async def test_only_names_that_are_served_may_have_a_certificate(
    place: Place, domain: str, status: int
) -> None:
    assert await place.allowed(domain) == status


async def test_the_answer_is_yes_or_no_and_nothing_else(place: Place) -> None:
    yes = await place.get(TLS, params={"domain": OWN})
    assert (yes.status_code, yes.content) == (200, b"")
    told = [
        (await place.get(TLS, params={"domain": name})).json()
        for name in (PENDING, "nobody.test", f"nobody.{BASE}", "a b")
    ]
    for problem in told:
        problem.pop("request_id")
    assert told == [told[0]] * 4
    assert "acme" not in str(told)
    for query in ("", f"?domain={OWN}&domain=nobody.test"):
        assert (await place.get(f"{TLS}{query}")).status_code in {400, 422}
    # Wherever it is asked, and by whom.
    for host in (OWN, "nobody.test", f"nobody.{BASE}", "10.0.0.1"):
        assert (await place.get(f"{TLS}?domain={OWN}", host, peer="192.0.2.9")).status_code == 200


@pytest.mark.parametrize(("state", "status"), [("suspended", 200), ("deleting", 404)])
async def test_only_a_tenant_that_is_there_is_worth_a_certificate(
    place: Place, state: str, status: int
) -> None:
    names = (OWN, f"{place.subdomain}.{BASE}")
    assert [await place.allowed(name) for name in names] == [200, 200]
    place.set_state(state)
    try:
        assert [await place.allowed(name) for name in names] == [status, status]
    finally:
        place.set_state("active")


async def test_a_tenant_that_is_being_set_up_is_worth_none_yet(place: Place) -> None:
    accepted = new_tenant()
    async with place.site.client() as client:
        await client.post(TENANTS, json=accepted)  # and no worker runs
    assert await place.allowed(f"{accepted['subdomain']}.{BASE}") == 404


async def test_a_domain_that_is_lost_gets_no_certificate_any_more(place: Place) -> None:
    url = place.site.database.superuser_url
    try:
        set_domain(url, OWN, "lost")
        assert await place.allowed(OWN) == 404
        # Its primary one is gone, so it is served itself.
        assert (await place.get(INFO, OLD)).status_code == 200
    finally:
        set_domain(url, OWN, "verified")
    assert await place.allowed(OWN) == 200


async def test_few_are_asked_about_at_once_and_who_finds_a_long_line_is_turned_away() -> None:
    line, opened, begun = Line(), asyncio.Event(), 0

    async def ask() -> None:
        nonlocal begun
        async with line.turn():
            begun += 1
            await opened.wait()

    asking = [asyncio.create_task(ask()) for _ in range(66)]
    await asyncio.sleep(0)
    assert begun == 2
    with pytest.raises(TenantUnavailable):
        await ask()
    asking[1].cancel()
    asking[40].cancel()
    opened.set()
    await asyncio.wait(asking)
    assert [task.cancelled() for task in asking].count(True) == 2
    await ask()
