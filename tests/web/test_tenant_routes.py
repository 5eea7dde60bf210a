"""Every route on tenants' hosts, as the document has them, against every kind of caller and tenant.

A new route is covered by being documented, and by its case in test_auth.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
from litestar import Litestar

from controlplane.errors import AuthenticationRequired
from controlplane.identity.tokens import NoTokens
from controlplane.web.app import create_app, openapi_json
from controlplane.web.tenant.app import router
from tests.bad_tokens import BAD
from tests.database import Server
from tests.web.calls import BASE, TENANTS, new_tenant
from tests.web.members import ADMIN, USER, Json, Members, host_of, make_tenant, open_members
from tests.web.test_auth import CASES

pytestmark = pytest.mark.anyio

PREFIX = "/api/tenant/"
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}


@dataclass(frozen=True)
class Route:
    """`public`: nobody needs to be known."""

    name: str
    method: str
    path: str
    public: bool


def documented() -> list[Route]:
    paths = msgspec.json.decode(openapi_json())["paths"]
    return [
        Route(operation["operationId"], method.upper(), path, {} in operation["security"])
        for path, item in paths.items()
        if path.startswith(PREFIX)
        for method, operation in item.items()
    ]


ROUTES = {route.name: route for route in documented()}
every_route = pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)


@dataclass(frozen=True)
class Hosts:
    members: Members
    suspended: Json
    provisioning: Json
    deleted: Json

    async def call(
        self,
        route: Route,
        host: str,
        token: str | None = None,
        *,
        method: str | None = None,
        app: Any = None,
        extra: dict[str, str] | None = None,
        query: str = "",
    ) -> httpx.Response:
        case = CASES[route.name]
        headers = {"host": host, **case.headers, **(extra or {})}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        transport = httpx.ASGITransport(app or self.members.site.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.request(
                method or route.method, f"{case.path}{query}", json=case.body, headers=headers
            )


@pytest.fixture(scope="module")
async def hosts(server: Server) -> AsyncIterator[Hosts]:
    async with open_members(server) as members:
        site = members.site
        async with site.client() as client:
            async with site.working():
                suspended, deleted = [await make_tenant(client) for _ in range(2)]
                stop = await client.post(f"{TENANTS}/{suspended['id']}/suspend")
                gone = await client.delete(f"{TENANTS}/{deleted['id']}")
                for accepted in (stop, gone):
                    await client.get(accepted.json()["links"]["events"])
            body = new_tenant()
            await client.post(TENANTS, json=body)
        yield Hosts(members, suspended, body, deleted)


def _is(answer: httpx.Response, status: int, code: str) -> None:
    found = answer.headers.get("x-error-code")
    assert (answer.status_code, found) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    if answer.request.method != "HEAD":
        assert answer.json()["code"] == code


def test_every_route_is_documented_under_the_tenants_prefix() -> None:
    app = Litestar([router], openapi_config=None, logging_config=None)
    served = {(method, route.path) for route in app.routes for method in route.methods}
    told = {(route.method, route.path) for route in ROUTES.values()}
    assert {pair for pair in served if pair[0] != "OPTIONS"} == told


@every_route
async def test_no_route_is_there_without_a_tenant(hosts: Hosts, route: Route) -> None:
    token = hosts.members.token(hosts.members.acme, ADMIN)
    for host in (BASE, f"admin.{BASE}", "10.0.0.1", f"a.b.{BASE}"):
        for given in (None, token):
            _is(await hosts.call(route, host, given), 404, "not_found")
    for given in (None, token):
        _is(await hosts.call(route, f"nobody.{BASE}", given), 404, "tenant_not_found")


@every_route
async def test_only_an_active_tenant_is_served_whoever_asks(hosts: Hosts, route: Route) -> None:
    members = hosts.members
    expected = [
        (hosts.suspended, 403, "tenant_suspended"),
        (hosts.provisioning, 503, "tenant_not_ready"),
        (hosts.deleted, 404, "tenant_not_found"),
    ]
    for tenant, status, code in expected:
        own = members.token(tenant, ADMIN) if "id" in tenant else None
        for token in (None, own, members.token(members.acme, ADMIN), "nonsense"):
            answer = await hosts.call(route, host_of(tenant), token)
            _is(answer, status, code)
            assert ("retry-after" in answer.headers) == (status == 503)


@every_route
async def test_another_tenants_token_is_refused_and_tells_nothing(
    hosts: Hosts, route: Route
) -> None:
    acme, globex = hosts.members.acme, hosts.members.globex
    answer = await hosts.call(route, host_of(acme), hosts.members.token(globex, ADMIN))
    _is(answer, 401, "tenant_mismatch")
    for word in (globex["id"], globex["subdomain"], globex["schema_name"], "Globex"):
        assert word not in f"{answer.text}{answer.headers}"


@every_route
async def test_whoever_is_not_known_sees_what_is_public_alone(hosts: Hosts, route: Route) -> None:
    answer = await hosts.call(route, host_of(hosts.members.acme))
    if route.public:
        assert answer.status_code == 200
    else:
        _is(answer, 401, "authentication_required")
        assert answer.headers["www-authenticate"].startswith("Bearer")


@every_route
async def test_a_token_anywhere_but_in_its_header_is_nobodys(hosts: Hosts, route: Route) -> None:
    members = hosts.members
    for tenant in (members.acme, members.globex):
        token = members.token(tenant, ADMIN)
        elsewhere = [
            {"cookie": f"session={token}; token={token}; Authorization=Bearer {token}"},
            {"x-authorization": f"Bearer {token}"},
            {"proxy-authorization": f"Bearer {token}"},
            {"x-forwarded-access-token": token},
            {"authorization": token},
            {"authorization": f"Basic {token}"},
        ]
        for headers in elsewhere:
            answer = await hosts.call(route, host_of(members.acme), extra=headers)
            assert answer.status_code == (200 if route.public else 401), headers
            assert "tier" not in answer.text
        query = f"?access_token={token}&token={token}"
        answer = await hosts.call(route, host_of(members.acme), query=query)
        assert answer.status_code == (200 if route.public else 401)
        assert "tier" not in answer.text


@every_route
async def test_a_plain_user_is_let_in_by_what_is_public_alone(hosts: Hosts, route: Route) -> None:
    members = hosts.members
    answer = await hosts.call(route, host_of(members.acme), members.token(members.acme, USER))
    if route.public:
        assert answer.status_code == 200
    else:
        _is(answer, 403, "permission_denied")


@every_route
async def test_an_admin_of_the_tenant_is_served(hosts: Hosts, route: Route) -> None:
    members = hosts.members
    answer = await hosts.call(route, host_of(members.acme), members.token(members.acme, ADMIN))
    assert answer.is_success, answer.text
    assert members.globex["id"] not in answer.text


@every_route
async def test_a_global_admins_token_speaks_for_nobody_here(hosts: Hosts, route: Route) -> None:
    token = hosts.members.site.tokens["super_admin"]
    answer = await hosts.call(route, host_of(hosts.members.acme), token)
    _is(answer, 401, "authentication_required")


@every_route
async def test_other_methods_are_refused_and_options_names_those_there_are(
    hosts: Hosts, route: Route
) -> None:
    members = hosts.members
    there = {other.method for other in ROUTES.values() if other.path == route.path}
    host, token = host_of(members.acme), members.token(members.acme, ADMIN)
    for method in METHODS - there:
        answer = await hosts.call(route, host, token, method=method)
        _is(answer, 405, "method_not_allowed")
        assert set(answer.headers["allow"].split(", ")) - {"OPTIONS"} == there
    options = await hosts.call(route, host, method="OPTIONS")
    assert options.status_code == 204
    assert there <= set(options.headers["allow"].split(", "))
    foreign = members.token(members.globex, ADMIN)
    for method in (*METHODS, "OPTIONS"):
        _is(await hosts.call(route, host, foreign, method=method), 401, "tenant_mismatch")


@every_route
async def test_without_a_key_nobody_is_known_and_what_is_missing_is_named(
    hosts: Hosts, route: Route
) -> None:
    members = hosts.members
    app = create_app(replace(members.site.parts, verifier=NoTokens()))
    host = host_of(members.acme)
    for token in (members.token(members.acme, ADMIN), members.token(members.globex, ADMIN)):
        answer = await hosts.call(route, host, token, app=app)
        _is(answer, 401, "authentication_required")
        assert "CONTROLPLANE_TENANT_TOKEN_KEY" in answer.json()["detail"]
    answer = await hosts.call(route, host, app=app)
    assert answer.status_code == (200 if route.public else AuthenticationRequired.status)


@pytest.mark.parametrize("trick", BAD)
async def test_a_bad_token_opens_nothing_not_even_what_is_public(hosts: Hosts, trick: str) -> None:
    for tenant in (hosts.members.acme, hosts.members.globex):
        token = BAD[trick](UUID(tenant["id"]))
        for route in ROUTES.values():
            answer = await hosts.call(route, host_of(hosts.members.acme), token)
            _is(answer, 401, "authentication_required")
