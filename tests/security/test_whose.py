"""No spelling of a host, no header and no token leads a request to another tenant's rows."""

import hashlib
import hmac
from contextlib import nullcontext
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg_pool import AsyncConnectionPool

from controlplane.domain.tenants import TenantState
from controlplane.errors import (
    InvalidRequest,
    MissingTenantContext,
    TenantContextConflict,
)
from controlplane.routing import (
    RoutedTenant,
    Tenancy,
    TenantDirectory,
    TenantMiddleware,
    tenant_scope,
)
from controlplane.routing.known import Ages
from controlplane.routing.resolve import TokenClaim, TrustedHeader
from controlplane.testing import marker
from tests.security.spellings import FORWARDED, SPELLINGS
from tests.security.tables import documented

pytestmark = pytest.mark.anyio

BASE = "example.test"
KEY = b"a test issuer's"


class Roles:
    """Answers with the markers in the tenant's roles, or with the one role of the asked id."""

    def __init__(self, pool: Any) -> None:
        self._tenancy = Tenancy(pool)

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        async with self._tenancy.transaction() as conn:
            asked = scope["path"].removeprefix("/roles").removeprefix("/") or None
            rows = await (
                await conn.execute(
                    "SELECT name FROM roles WHERE name LIKE 'marker-%%'"
                    " AND (%s::text IS NULL OR id::text = %s)",
                    [asked, asked],
                )
            ).fetchall()
        status = 200 if rows else 404
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": str(rows).encode()})


@pytest.fixture
async def pool(two):
    async with AsyncConnectionPool(two.app_url, min_size=1, max_size=1, open=False) as pool:
        yield pool


def _signed(tenant_id: UUID, *, key: bytes = KEY) -> bytes:
    seal = hmac.new(key, tenant_id.bytes, hashlib.sha256).hexdigest()
    return f"Bearer {tenant_id}.{seal}".encode()


def _claimed(asked: Any) -> UUID | None:
    """The tenant of a token that the test issuer signed."""
    tokens = [value for name, value in asked.headers if name.lower() == b"authorization"]
    if not tokens:
        return None
    text, _, seal = tokens[0].decode().removeprefix("Bearer ").partition(".")
    tenant_id = UUID(text)
    if not hmac.compare_digest(_signed(tenant_id).decode().partition(".")[2], seal):
        raise InvalidRequest("The token is not ours.")
    return tenant_id


@pytest.fixture
def ask(two, pool):
    """Asks, and says the status and whose rows were shown."""
    app = TenantMiddleware(
        Roles(pool),
        directory=TenantDirectory(pool),
        base_domain=BASE,
        also=[TrustedHeader(["10.0.0.0/8"]), TokenClaim(_claimed)],
    )
    return lambda *headers, **more: _ask(app, two, *headers, **more)


async def _ask(
    app: Any,
    two: Any,
    *headers: tuple[bytes, bytes],
    path: str = "/roles",
    client: str = "203.0.113.9",
) -> tuple[int, str | None]:
    seen: dict[str, Any] = {"body": b""}

    async def send(message: Any) -> None:
        seen["status"] = message.get("status", seen.get("status"))
        seen["body"] += message.get("body", b"")

    scope = {"type": "http", "method": "GET", "path": path, "headers": list(headers)}
    await app({**scope, "client": (client, 1)}, None, send)
    shown = [tenant for tenant in two.tenants if marker(tenant).encode() in seen["body"]]
    assert len(shown) < 2
    return seen["status"], shown[0].subdomain if shown else None


def _host(text: str) -> tuple[bytes, bytes]:
    return b"host", text.encode("latin-1" if text.isascii() else "utf-8")


async def test_a_host_is_the_tenants_own_or_nobodys_however_it_is_spelt(ask):
    found = {text: await ask(_host(text)) for texts in SPELLINGS.values() for text in texts}
    assert found == {text: seen for seen, texts in SPELLINGS.items() for text in texts}


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [_host("acme.example.test"), _host("globex.example.test")],
        [_host("acme.example.test"), (b"HOST", b"globex.example.test")],
        [_host("acme.example.test"), _host("acme.example.test")],
    ],
)
async def test_a_request_has_one_host(ask, headers):
    assert await ask(*headers) == (400, None)


async def test_no_other_header_says_whose_a_request_is(ask):
    for header in FORWARDED:
        assert await ask(_host("acme.example.test"), header) == (200, "acme")
        assert await ask(header) == (400, None)


async def test_a_tenants_id_in_a_header_is_heard_from_a_trusted_proxy_alone(two, ask):
    acme, globex = (str(tenant.id).encode() for tenant in two.tenants)
    host, proxy = _host("acme.example.test"), "10.1.2.3"
    for name in (b"x-tenant-id", b"X-Tenant-ID", b"X-TENANT-ID"):
        assert await ask(host, (name, globex)) == (200, "acme")
        assert await ask(host, (name, globex), client=proxy) == (401, None)
        assert await ask(host, (name, globex), client="::ffff:10.1.2.3") == (401, None)
        assert await ask(host, (name, acme), client=proxy) == (200, "acme")
        assert await ask(host, (name, acme), (name, globex), client=proxy) == (400, None)
    assert await ask(host, (b"x_tenant_id", globex), client=proxy) == (200, "acme")
    for spoofed in ("10.1.2.3.evil", "110.1.2.3", "unix", ""):
        assert await ask(host, (b"x-tenant-id", globex), client=spoofed) == (200, "acme")


async def test_a_token_is_good_at_its_own_tenants_host_alone(two, ask):
    acme, globex = two.tenants
    for whose, host, seen in [
        (acme, "acme", (200, "acme")),
        (globex, "globex", (200, "globex")),
        (globex, "acme", (401, None)),
        (acme, "globex", (401, None)),
        (acme, "nobody", (404, None)),
    ]:
        token = (b"authorization", _signed(whose.id))
        assert await ask(_host(f"{host}.example.test"), token) == seen
    forged = (b"authorization", _signed(globex.id, key=b"another's"))
    for host in ("acme.example.test", "globex.example.test"):
        assert await ask(_host(host), forged) == (400, None)
    # Where the host says nothing the token does, and it is Globex's own.
    token = (b"authorization", _signed(globex.id))
    assert await ask(_host("example.test"), token) == (200, "globex")
    assert await ask(_host("example.test"), (b"authorization", _signed(uuid4()))) == (404, None)
    header = (b"x-tenant-id", str(acme.id).encode())
    assert await ask(_host("example.test"), header, token, client="10.0.0.1") == (401, None)


async def test_an_id_of_another_tenants_is_not_found(two, ask):
    for tenant, other in [two.tenants, two.tenants[::-1]]:
        query = "SELECT id::text FROM roles WHERE name = %s"
        ((own,),) = two.execute(query, [marker(tenant)], tenant=tenant)
        ((foreign,),) = two.execute(query, [marker(other)], tenant=other)
        host = _host(two.host(tenant))
        assert await ask(host, path=f"/roles/{own}") == (200, tenant.subdomain)
        assert await ask(host, path=f"/roles/{foreign}") == (404, None)


async def test_the_address_of_a_request_says_nothing(two, ask):
    other = two.tenants[1]
    for path in (
        *("http://globex.example.test/roles", "//globex.example.test/roles", "/t/globex/roles"),
        *(f"/roles/../{other.schema}", "/roles/?tenant=globex", f"/roles/{other.id}"),
    ):
        status, whose = await ask(_host("acme.example.test"), path=path)
        assert (status in {200, 404}, whose in {None, "acme"}) == (True, True)


async def test_two_tenants_that_swap_names_never_meet_in_the_directory(two, pool):
    """What is kept is kept by name, so a name that has another holder must be asked for anew."""
    directory = TenantDirectory(pool, ages=Ages(fresh_s=0.0))
    app = TenantMiddleware(Roles(pool), directory=directory, base_domain=BASE)
    acme, globex = two.tenants
    holders = {"acme": acme, "globex": globex}
    for _ in range(3):
        for name, tenant in holders.items():
            seen = await _ask(app, two, _host(f"{name}.example.test"))
            assert seen == (200, tenant.subdomain)
            assert await directory.identify(tenant.id) == await directory.lookup(name)
        for tenant, name in ((acme, "between"), (globex, "acme"), (acme, "globex")):
            rename = "UPDATE public.tenants SET subdomain = %s WHERE id = %s"
            two.execute(rename, [name, tenant.id], tenant=tenant)
        # By names as they were at first: so are the answers' owners called.
        holders = {"acme": globex, "globex": acme}
        acme, globex = globex, acme
        seen = await _ask(app, two, _host("between.example.test"))
        assert seen == (404, None)


def _nowhere() -> RoutedTenant:
    return RoutedTenant(uuid4(), "acme", "Acme", TenantState.ACTIVE, "starter", "test")


async def test_the_routings_own_layers_hold_as_documented(two, pool, ask):
    acme, globex = two.tenants

    class Wrong:
        async def lookup(self, _subdomain: str) -> RoutedTenant:
            return _nowhere()

        async def identify(self, _tenant_id: UUID) -> None:
            return None

    host, token = _host("acme.example.test"), (b"authorization", _signed(globex.id))
    header = (b"x-tenant-id", str(globex.id).encode())
    wrong = TenantMiddleware(Roles(pool), directory=Wrong(), base_domain=BASE)
    closed = AsyncConnectionPool(two.app_url, open=False)
    silent = TenantMiddleware(Roles(pool), directory=TenantDirectory(closed), base_domain=BASE)
    rows = [
        await _ask(wrong, two, host),
        await _ask(silent, two, host),
        await ask(host, token),
        await ask(host, header, client="10.0.0.1"),
        await ask(_host("example.test"), token),
        await _raised(TenantContextConflict, Tenancy(pool), acme, globex),
        await _raised(MissingTenantContext, Tenancy(pool), None, None),
    ]
    told = [
        *("503 `tenant_schema_missing`", "503 `tenant_not_ready`", "401 `tenant_mismatch`"),
        *("401 `tenant_mismatch`", "Globex's rows", "`TenantContextConflict`"),
        "`MissingTenantContext`",
    ]
    assert rows == [
        *((503, None), (503, None), (401, None), (401, None), (200, "globex")),
        *("TenantContextConflict", "MissingTenantContext"),
    ]
    assert [outcome for _, outcome, _ in documented("Wrong in the routing")] == told


async def _raised(error: Any, tenancy: Any, scope: Any, tenant: Any) -> str:
    with nullcontext() if scope is None else tenant_scope(scope), pytest.raises(error) as raised:
        await tenancy.transaction(tenant).__aenter__()
    return raised.type.__name__
