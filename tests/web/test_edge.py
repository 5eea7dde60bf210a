"""Whose host it is, as proxies and front ends ask it."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine

from controlplane.routing import TenantDirectory
from controlplane.routing.known import Ages
from controlplane.web.api.edge import RecentTokens
from controlplane.web.app import create_app
from tests.database import Server, fresh_database
from tests.web.calls import BASE, TENANTS, Site, fresh_subdomain, make_active, new_tenant, open_site

pytestmark = pytest.mark.anyio

PATH = "/api/edge/resolve"
PROXY, STRANGER = "10.1.2.3", "192.0.2.9"
NAME = "Müller & Søn 100 %"


@pytest.fixture(scope="module")
async def site(server: Server) -> AsyncIterator[Site]:
    """A site behind proxies in 10.0.0.0/8."""
    with fresh_database(server) as database:
        async with open_site(database, CONTROLPLANE_TRUSTED_PROXIES="10.0.0.0/8") as opened:
            yield opened


@pytest.fixture(scope="module")
async def tenant(site: Site) -> dict[str, Any]:
    """An active tenant, as the admin API shows it."""
    async with site.client() as client, site.working():
        body = new_tenant(name=NAME, subdomain=fresh_subdomain())
        made = await make_active(client, body)
        shown: dict[str, Any] = (await client.get(made["links"]["tenant"])).json()
    return shown


async def ask(
    app: Any,
    *,
    peer: str = STRANGER,
    host: str = "internal",
    token: str | None = None,
    **asked: Any,
) -> httpx.Response:
    """Ask from the address `peer`; `params` and `headers` as httpx has them."""
    authorization = {} if token is None else {"authorization": f"Bearer {token}"}
    transport = httpx.ASGITransport(app, client=(peer, 4711))
    async with httpx.AsyncClient(
        transport=transport, base_url=f"http://{host}", headers=authorization
    ) as client:
        return await client.get(PATH, **asked)


def forwarded(host: str) -> dict[str, str]:
    return {"x-forwarded-host": host}


async def set_state(site: Site, tenant: dict[str, Any], state: str) -> None:
    async with site.parts.owner.begin() as conn:
        change = text("UPDATE public.tenants SET state = :state WHERE id = :id")
        await conn.execute(change, {"state": state, "id": tenant["id"]})


async def test_a_reader_asks_for_any_host_and_a_proxy_for_its_own(
    site: Site, tenant: dict[str, Any]
) -> None:
    host = f"{tenant['subdomain']}.{BASE}"
    by_token = await ask(site.app, token=site.tokens["reader"], params={"host": host})
    by_proxy = await ask(site.app, peer=PROXY, headers=forwarded(f"{host.upper()}.:8443"))
    on_its_host = await ask(site.app, peer=PROXY, host=host, headers=forwarded(host))
    for answer in (by_token, by_proxy, on_its_host):
        assert answer.status_code == 200
        assert answer.json() == {
            "id": tenant["id"],
            "name": NAME,
            "subdomain": tenant["subdomain"],
            "state": "active",
            "tier": tenant["tier"],
            "moved_to": None,
        }
        assert answer.headers["x-tenant-id"] == tenant["id"]
        assert answer.headers["x-tenant-name"] == "M%C3%BCller%20%26%20S%C3%B8n%20100%20%25"
        assert unquote(answer.headers["x-tenant-name"]) == NAME
        assert answer.headers["cache-control"] == "no-store"


async def test_a_header_of_a_stranger_has_no_effect(site: Site, tenant: dict[str, Any]) -> None:
    header = forwarded(f"{tenant['subdomain']}.{BASE}")
    token = site.tokens["reader"]
    assert (await ask(site.app, headers=header)).json()["code"] == "authentication_required"
    unnamed = await ask(site.app, token=token, headers=header)
    assert (unnamed.status_code, unnamed.json()["code"]) == (400, "invalid_request")
    other = await ask(site.app, token=token, headers=header, params={"host": f"nobody.{BASE}"})
    assert (other.status_code, other.json()["code"]) == (404, "tenant_not_found")


async def test_by_default_no_proxy_is_trusted(site: Site, tenant: dict[str, Any]) -> None:
    untrusting = site.parts.settings.model_copy(update={"trusted_proxies": ()})
    app = create_app(replace(site.parts, settings=untrusting))
    for peer in (PROXY, "127.0.0.1", "::1"):
        answer = await ask(app, peer=peer, headers=forwarded(f"{tenant['subdomain']}.{BASE}"))
        assert answer.status_code == 401


@pytest.mark.parametrize("peer", [PROXY, STRANGER])
@pytest.mark.parametrize("token", [None, "cp_nonsense"])
async def test_who_names_the_host_himself_needs_a_token(
    site: Site, tenant: dict[str, Any], peer: str, token: str | None
) -> None:
    asked = {"host": f"{tenant['subdomain']}.{BASE}"}
    answer = await ask(site.app, peer=peer, token=token, params=asked, headers=forwarded("x"))
    assert (answer.status_code, answer.json()["code"]) == (401, "authentication_required")


@pytest.mark.parametrize(
    ("host", "status", "code"),
    [
        (f"nobody.{BASE}", 404, "tenant_not_found"),
        (f"admin.{BASE}", 404, "tenant_not_found"),
        (BASE, 404, "tenant_required"),
        ("", 404, "tenant_required"),
        (f"a.b.{BASE}", 404, "tenant_required"),
        (f"acme.{BASE}.evil.test", 404, "tenant_required"),
        ("192.0.2.1", 404, "tenant_required"),
        (f"a b.{BASE}", 400, "invalid_request"),
        (f"acme.{BASE}, globex.{BASE}", 400, "invalid_request"),
    ],
)
async def test_no_host_falls_back_to_a_tenant(
    site: Site, host: str, status: int, code: str
) -> None:
    by_token = await ask(site.app, token=site.tokens["reader"], params={"host": host})
    by_proxy = await ask(site.app, peer=PROXY, headers=forwarded(host))
    for answer in (by_token, by_proxy):
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.headers["x-error-code"] == code
        assert "x-tenant-id" not in answer.headers


async def test_a_host_that_is_named_twice_is_refused(site: Site, tenant: dict[str, Any]) -> None:
    host = f"{tenant['subdomain']}.{BASE}"
    doubled = [("x-forwarded-host", host), ("x-forwarded-host", f"nobody.{BASE}")]
    query = [("host", host), ("host", f"nobody.{BASE}")]
    by_header = await ask(site.app, peer=PROXY, headers=doubled)
    by_query = await ask(site.app, token=site.tokens["reader"], params=query)
    neither = await ask(site.app, peer=PROXY)
    assert [a.status_code for a in (by_header, by_query, neither)] == [400, 400, 400]


async def test_a_tenant_that_is_not_active_is_answered_as_at_its_host(
    site: Site, tenant: dict[str, Any]
) -> None:
    await set_state(site, tenant, "suspended")
    try:
        suspended = await _same_answers(site, tenant["subdomain"])
    finally:
        await set_state(site, tenant, "active")
    accepted = new_tenant()
    async with site.client() as client:
        await client.post(TENANTS, json=accepted)  # and no worker runs
    early = await _same_answers(site, accepted["subdomain"])
    assert (suspended.status_code, suspended.json()["code"]) == (403, "tenant_suspended")
    assert (early.status_code, early.json()["code"]) == (503, "tenant_not_ready")
    assert early.headers["retry-after"] == "2"


async def _same_answers(site: Site, subdomain: str) -> httpx.Response:
    """What the edge says of a host, once it was seen to be what the host itself says."""
    app = create_app(replace(site.parts, directory=TenantDirectory(site.parts.app_pool)))
    host = f"{subdomain}.{BASE}"
    at_the_edge = await ask(app, peer=PROXY, headers=forwarded(host))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
        at_its_host = await client.get("/api/tenant/info")
    unlike = {"instance", "request_id"}
    told = [
        {k: v for k, v in a.json().items() if k not in unlike} for a in (at_the_edge, at_its_host)
    ]
    assert told[0] == told[1]
    for name in ("retry-after", "cache-control", "x-error-code"):
        assert at_the_edge.headers.get(name) == at_its_host.headers.get(name)
    return at_the_edge


class CountedPool:
    """Lends another pool's connections and counts how often."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self.lent = 0

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        self.lent += 1
        async with self._pool.connection() as conn:
            yield conn


@contextlib.contextmanager
def counted(engine: AsyncEngine) -> Iterator[list[str]]:
    """The statements that the engine sends meanwhile."""
    sent: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", note)


async def test_a_second_lookup_issues_no_query_whoever_asks(
    site: Site, tenant: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The machine may be slower than the belief lasts.
    monkeypatch.setattr("controlplane.web.api.edge._BELIEVED_S", 3600.0)
    pool = CountedPool(site.parts.app_pool)
    directory = TenantDirectory(pool, ages=Ages(fresh_s=3600))
    app = create_app(replace(site.parts, directory=directory))
    host = f"{tenant['subdomain']}.{BASE}"
    with counted(site.parts.control) as sent:
        first = await ask(app, token=site.tokens["reader"], params={"host": host})
        assert first.status_code == 200
        assert sent
        assert pool.lent > 0
        sent.clear()
        pool.lent = 0
        again = await ask(app, token=site.tokens["reader"], params={"host": host})
        forward = await ask(app, peer=PROXY, headers=forwarded(host))
        assert (again.status_code, forward.status_code) == (200, 200)
    assert (sent, pool.lent) == ([], 0)


def test_a_token_is_believed_for_a_second_and_a_half_and_no_other_is() -> None:
    recent = RecentTokens()
    recent.found_good("cp_good", 100.0)
    assert recent.believed("cp_good", 101.4)
    assert not recent.believed("cp_good", 101.5)
    assert not recent.believed("cp_other", 100.0)
    assert not recent.believed("", 100.0)


async def test_the_edge_and_the_tenants_hosts_ask_one_directory(
    site: Site, tenant: dict[str, Any]
) -> None:
    pool = CountedPool(site.parts.app_pool)
    directory = TenantDirectory(pool, ages=Ages(fresh_s=3600))
    app = create_app(replace(site.parts, directory=directory))
    host = f"{tenant['subdomain']}.{BASE}"
    await ask(app, peer=PROXY, headers=forwarded(host))
    asked = pool.lent
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
        assert (await client.get("/api/tenant/info")).status_code == 200
    assert pool.lent == asked
