"""Caddy and nginx, as examples/ configures them, between clients and the sample app server."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.edge.place import Place, Seen, ask, caddy, nginx, running
from tests.integration.routing.own_domains import add_domain
from tests.name_servers import free_port
from tests.web.calls import Site

pytestmark = pytest.mark.anyio

Command = Callable[[Place, int, Path], list[str]]
_EACH = [
    pytest.param(caddy, id="caddy", marks=pytest.mark.requires("caddy")),
    pytest.param(nginx, id="nginx", marks=pytest.mark.requires("nginx")),
]


@pytest.fixture(scope="module", params=_EACH)
async def proxy(
    place: Place, request: Any, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[int]:
    """The port of a proxy that asks the control plane and leads to the app server."""
    port = free_port()
    command = request.param(place, port, tmp_path_factory.mktemp("proxy"))
    async with running(command, port):
        yield port


@pytest.fixture(scope="module")
def domains(place: Place, site: Site) -> None:
    """Of acme; the second leads to the first."""
    url, acme = site.database.superuser_url, place.ids["acme"]
    add_domain(url, acme, "portal.acme.test", primary=True)
    add_domain(url, acme, "www.acme.test", redirects=True)


async def test_each_host_reaches_the_application_with_its_tenant(place: Place, proxy: int) -> None:
    made = {}
    for who in ("acme", "globex"):
        new = {"name": f"{who}.pdf", "mime_type": "application/pdf", "size_bytes": 1}
        filed = await ask(proxy, f"{who}.localhost:{proxy}", json=new)
        assert filed.status_code == 201
        made[who] = filed.json()["id"]
    for who, other in (("acme", "globex"), ("globex", "acme")):
        # Straight to the app server, to tell the proxy's doing from the application's.
        for port in (proxy, place.app_server):
            answer = await ask(port, f"{who}.localhost", f"/documents?q={who}")
            assert made[who] in {document["id"] for document in answer.json()}
            assert made[other] not in answer.text


async def test_a_host_that_redirects_does_so_behind_a_proxy(
    proxy: int,
    domains: None,  # noqa: ARG001  they are there
) -> None:
    served = await ask(proxy, "portal.acme.test")
    assert served.status_code == 200
    moved = await ask(proxy, "www.acme.test", "/documents/%2F?q=%20&next=//evil.test")
    assert moved.status_code == 308
    scheme, _, rest = moved.headers["location"].partition("://")
    assert scheme in {"http", "https"}
    assert rest == "portal.acme.test/documents/%2F?q=%20&next=//evil.test"


async def test_a_refusal_comes_in_the_control_planes_words(proxy: int) -> None:
    for host, status, code in [
        ("nobody.localhost", 404, "tenant_not_found"),
        ("localhost", 404, "tenant_required"),
        ("a.acme.localhost", 404, "tenant_required"),
        ("acme.localhost.evil.test", 404, "tenant_required"),
        ("initech.localhost", 403, "tenant_suspended"),
    ]:
        for body in ({}, {"json": {"name": "x"}}):
            answer = await ask(proxy, host, "/documents?host=acme.localhost", **body)
            assert (answer.status_code, answer.json()["code"]) == (status, code)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["x-error-code"] == code
            assert answer.json()["instance"] == "/api/edge/resolve"


async def test_nothing_that_a_client_says_makes_it_another_tenant(place: Place, proxy: int) -> None:
    acme = await ask(proxy, "acme.localhost")
    assert acme.status_code == 200
    spoofs = [
        {"X-Tenant-Id": place.ids["globex"]},
        {"x-tenant-id": "nonsense", "X-Tenant-Name": "Globex"},
        {"X_Tenant_Id": place.ids["globex"]},
        {"X-Forwarded-Host": "globex.localhost"},
        {"X-Forwarded-For": "127.0.0.1", "Forwarded": "host=globex.localhost"},
        {"X-Original-Host": "globex.localhost", "Authorization": "Bearer cp_nonsense"},
    ]
    for spoof in spoofs:
        answer = await ask(
            proxy, "acme.localhost", "/documents?host=globex.localhost", headers=spoof
        )
        assert (answer.status_code, answer.json()) == (200, acme.json()), spoof


@pytest.mark.parametrize("which", _EACH)
async def test_what_the_application_is_told_is_what_the_control_plane_said(
    place: Place, tmp_path: Path, seen: Seen, which: Command
) -> None:
    """The tenant's id and name arrive once each, whatever the client has sent."""
    port = free_port()
    echoing = Place(place.controlplane, seen.port, place.ids)
    spoof = {
        "X-Tenant-Id": place.ids["globex"],
        "X-Tenant-Name": "Globex",
        "Cookie": "session=1",
        "Authorization": "Bearer users",
    }
    async with running(which(echoing, port, tmp_path), port):
        await ask(port, "acme.localhost", headers=spoof)
    told = [(k, v) for k, v in seen.headers if k.replace("_", "-").startswith("x-tenant")]
    assert sorted(told) == [
        ("x-tenant-id", place.ids["acme"]),
        ("x-tenant-name", "acme%20%26%20S%C3%B8n"),
    ]
    # The application's own matters reach it.
    assert ("authorization", "Bearer users") in seen.headers
    assert ("cookie", "session=1") in seen.headers


@pytest.mark.parametrize("which", _EACH)
async def test_without_the_control_plane_nobody_is_let_in(
    place: Place, tmp_path: Path, seen: Seen, which: Command
) -> None:
    port = free_port()
    nobody = Place(free_port(), seen.port, place.ids)
    async with running(which(nobody, port, tmp_path), port):
        answer = await ask(port, "acme.localhost")
    assert answer.status_code == 502
    assert seen.headers == []
