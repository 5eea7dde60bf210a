"""Who may do what: every operation of the document against every kind of caller."""

from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest
from sqlalchemy import text

from controlplane.store import admins
from controlplane.store.admin_tables import AdminRole
from controlplane.web.app import openapi_json
from tests.web.calls import BASE, OPERATIONS, TENANTS, Site, new_tenant

pytestmark = pytest.mark.anyio

_ID = str(uuid4())
ROLLOUTS = "/api/admin/rollouts"


@dataclass(frozen=True)
class Case:
    """How an operation is called; `public` ones need no token, `supers` the highest role, `tenant` ones
    a tenant's host. `answer` is what nobody gets of a public one."""

    method: str
    path: str
    body: dict[str, Any] | None = None
    public: bool = False
    supers: bool = False
    tenant: bool = False
    answer: int = 200
    headers: dict[str, str] = field(default_factory=dict)


CASES = {
    "createTenant": Case("POST", TENANTS, new_tenant()),
    "listTenants": Case("GET", TENANTS),
    "getTenant": Case("GET", f"{TENANTS}/{_ID}"),
    "deleteTenant": Case("DELETE", f"{TENANTS}/{_ID}"),
    "provisionTenant": Case("POST", f"{TENANTS}/{_ID}/provision"),
    "suspendTenant": Case("POST", f"{TENANTS}/{_ID}/suspend"),
    "resumeTenant": Case("POST", f"{TENANTS}/{_ID}/resume"),
    "restoreTenant": Case("POST", f"{TENANTS}/{_ID}/restore"),
    "freezeTenant": Case("POST", f"{TENANTS}/{_ID}/freeze", {"reason": "audited"}),
    "unfreezeTenant": Case("POST", f"{TENANTS}/{_ID}/unfreeze"),
    "purgeTenant": Case("POST", f"{TENANTS}/{_ID}/purge", {"confirm": "acme"}, supers=True),
    "renameTenant": Case("PUT", f"{TENANTS}/{_ID}/subdomain", {"subdomain": "acme-labs"}),
    "addDomain": Case("POST", f"{TENANTS}/{_ID}/domains", {"host": "www.acme.example"}),
    "listDomains": Case("GET", f"{TENANTS}/{_ID}/domains"),
    "getDomain": Case("GET", f"{TENANTS}/{_ID}/domains/www.acme.example"),
    "changeDomain": Case("PATCH", f"{TENANTS}/{_ID}/domains/www.acme.example", {}),
    "checkDomain": Case("POST", f"{TENANTS}/{_ID}/domains/www.acme.example/check"),
    "removeDomain": Case("DELETE", f"{TENANTS}/{_ID}/domains/www.acme.example"),
    "getSubdomainHolds": Case("GET", "/api/admin/subdomain-holds/acme"),
    "releaseSubdomain": Case("DELETE", "/api/admin/subdomain-holds/acme", supers=True),
    "resendWelcome": Case("POST", f"{TENANTS}/{_ID}/welcome-email"),
    "getProvision": Case("GET", f"{TENANTS}/{_ID}/provision"),
    "listOperations": Case("GET", OPERATIONS),
    "getOperation": Case("GET", f"{OPERATIONS}/{_ID}"),
    "watchOperation": Case("GET", f"{OPERATIONS}/{_ID}/events"),
    "cancelOperation": Case("POST", f"{OPERATIONS}/{_ID}/cancel"),
    "resumeOperation": Case("POST", f"{OPERATIONS}/{_ID}/resume"),
    "abandonOperation": Case(
        "POST", f"{OPERATIONS}/{_ID}/abandon", {"reason": "gone", "comment": "gone"}
    ),
    "planRollout": Case("POST", f"{ROLLOUTS}/plan", {}, supers=True),
    "startRollout": Case("POST", ROLLOUTS, {}, supers=True),
    "listRollouts": Case("GET", ROLLOUTS),
    "getRollout": Case("GET", f"{ROLLOUTS}/{_ID}"),
    "listRolloutTargets": Case("GET", f"{ROLLOUTS}/{_ID}/targets"),
    "watchRollout": Case("GET", f"{ROLLOUTS}/{_ID}/events"),
    "pauseRollout": Case("POST", f"{ROLLOUTS}/{_ID}/pause", supers=True),
    "resumeRollout": Case("POST", f"{ROLLOUTS}/{_ID}/resume", supers=True),
    "retryRollout": Case("POST", f"{ROLLOUTS}/{_ID}/retry", supers=True),
    "cancelRollout": Case("POST", f"{ROLLOUTS}/{_ID}/cancel", supers=True),
    "listDrift": Case("GET", "/api/admin/drift", supers=True),
    "listFindings": Case("GET", "/api/admin/findings", supers=True),
    "repairFindings": Case("POST", "/api/admin/findings/repair", {}, supers=True),
    "resolveHost": Case("GET", f"/api/edge/resolve?host=nobody.{BASE}"),
    "tlsAllowed": Case(
        "GET", f"/api/edge/tls-allowed?domain=nobody.{BASE}", public=True, answer=404
    ),
    "getLiveness": Case("GET", "/health/live", public=True),
    "getReadiness": Case("GET", "/health/ready", public=True),
    "getAppInfo": Case("GET", "/api/app/info", public=True),
    # Its messages are signed, and here no topic is set.
    "receiveMailEvents": Case("POST", "/api/webhooks/ses", {}, public=True, answer=404),
    "getTenantInfo": Case("GET", "/api/tenant/info", public=True, tenant=True, answer=404),
    "getTenantSettings": Case("GET", "/api/tenant/settings", tenant=True),
    "changeTenantSettings": Case(
        "PUT", "/api/tenant/settings", {"values": {}}, tenant=True, headers={"if-match": "*"}
    ),
    "getTenantStats": Case("GET", "/api/tenant/stats", tenant=True),
}
ADMINS = {name: case for name, case in CASES.items() if not (case.public or case.tenant)}


def documented() -> dict[str, tuple[str, str]]:
    """Operation id to method and path."""
    paths = msgspec.json.decode(openapi_json())["paths"]
    return {
        operation["operationId"]: (method.upper(), path)
        for path, item in paths.items()
        for method, operation in item.items()
    }


async def call(client: httpx.AsyncClient, case: Case) -> httpx.Response:
    return await client.request(case.method, case.path, json=case.body)


def test_every_documented_operation_has_a_case() -> None:
    found = documented()
    assert set(CASES) == set(found)
    for name, case in CASES.items():
        method, template = found[name]
        assert case.method == method
        assert case.path.count("/") == template.count("/")


@pytest.mark.parametrize("name", ADMINS)
async def test_nobody_comes_in_without_a_token(site: Site, name: str) -> None:
    async with site.client(None) as client:
        answer = await call(client, ADMINS[name])
    assert (answer.status_code, answer.json()["code"]) == (401, "authentication_required")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("name", ADMINS)
@pytest.mark.parametrize("speaker", ["support", "reader"])
async def test_readers_read_and_change_nothing(site: Site, name: str, speaker: str) -> None:
    before = await site.counts()
    async with site.client(speaker) as client:
        answer = await call(client, ADMINS[name])
    if ADMINS[name].method == "GET" and not ADMINS[name].supers:
        assert answer.status_code in {200, 404}
    else:
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
        assert await site.counts() == before


@pytest.mark.parametrize("name", [name for name, case in ADMINS.items() if not case.supers])
async def test_admins_may_do_all_but_what_is_for_super_admins(site: Site, name: str) -> None:
    async with site.client("admin") as client:
        answer = await call(client, ADMINS[name])
    assert answer.status_code in {200, 202, 404, 409}


@pytest.mark.parametrize("name", ADMINS)
async def test_super_admins_may_do_everything(site: Site, name: str) -> None:
    async with site.client("super_admin") as client:
        answer = await call(client, ADMINS[name])
    assert answer.status_code in {200, 202, 404, 409}


@pytest.mark.parametrize("name", [name for name, case in ADMINS.items() if case.supers])
@pytest.mark.parametrize("body", [None, {}, {"confirm": 1}, {"confirm": "acme"}])
async def test_what_is_for_super_admins_is_refused_to_admins_before_all_else(
    site: Site, name: str, body: dict[str, Any] | None
) -> None:
    before = await site.counts()
    async with site.client("admin") as client:
        answer = await call(client, replace(ADMINS[name], body=body))
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    assert await site.counts() == before


@pytest.mark.parametrize("name", ADMINS)
async def test_an_admins_token_is_worth_nothing_on_a_tenants_host(site: Site, name: str) -> None:
    async with site.client(host=f"www.{BASE}") as client:
        answer = await call(client, ADMINS[name])
    assert answer.status_code == 404
    assert answer.json()["code"] in {"not_found", "tenant_not_found"}


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.public])
async def test_public_operations_need_no_token(site: Site, name: str) -> None:
    case = CASES[name]
    async with site.client(None, host=f"nobody.{BASE}" if case.tenant else "any.test") as client:
        answer = await call(client, case)
    assert answer.status_code == case.answer


async def _changed(site: Site, statement: str) -> str:
    """A token of an admin of its own, after a change to either."""
    email = f"{uuid4().hex}@example.test"
    async with site.parts.owner.begin() as conn:
        await admins.add_admin(conn, email=email, name=None, role=AdminRole.ADMIN)
        token = await admins.add_token(conn, email=email, name="test")
        mine = "(SELECT id FROM public.global_users WHERE email = :email)"
        await conn.execute(text(statement.replace("MINE", mine)), {"email": email})
    return token


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE public.api_tokens SET revoked_at = now() WHERE user_id = MINE",
        "UPDATE public.api_tokens SET expires_at = now() - interval '1 s' WHERE user_id = MINE",
        "UPDATE public.global_users SET state = 'disabled' WHERE id = MINE",
        "DELETE FROM public.global_users WHERE id = MINE",
    ],
)
async def test_a_token_that_is_over_opens_nothing(site: Site, statement: str) -> None:
    token = await _changed(site, statement)
    async with site.client(None) as client:
        answer = await client.get(TENANTS, headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 401


async def test_a_header_that_is_no_bearers_opens_nothing(site: Site) -> None:
    right = site.tokens["admin"]
    wrong = [
        "",
        "Bearer",
        "Bearer ",
        right,
        f"Basic {right}",
        f"Bearer {right}x",
        f"Bearer {right[:-1]}",
        f"Bearer {right.swapcase()}",
        f"Bearer cp_{'0' * 38}",
        f"Bearer {right} {right}",
        "Bearer \xff",
    ]
    async with site.client(None) as client:
        for value in wrong:
            headers = [("authorization", value.encode("latin-1"))]
            answer = await client.get(TENANTS, headers=headers)  # type: ignore[arg-type]  # bytes do
            assert answer.status_code == 401, value
        twice = [("authorization", f"Bearer {right}"), ("authorization", "Bearer x")]
        assert (await client.get(TENANTS, headers=twice)).status_code == 401
        lower = await client.get(TENANTS, headers={"authorization": f"bearer {right}"})
        assert lower.status_code == 200


async def test_a_token_without_scopes_opens_nothing(site: Site) -> None:
    token = await _changed(site, "UPDATE public.api_tokens SET scopes = '{}' WHERE user_id = MINE")
    async with site.client(None) as client:
        answer = await client.get(TENANTS, headers={"authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
