from uuid import UUID

import pytest
from psycopg.errors import InsufficientPrivilege

from controlplane.errors import MissingTenantContext, TenantSchemaMissing
from controlplane.routing import TenantMiddleware, current_tenant
from controlplane.routing.resolve import PathPrefix, TokenClaim, TrustedHeader
from tests.unit.routing.asgi import App, Broken, Down, Listed, answer, call, request, wrap

pytestmark = pytest.mark.anyio


async def test_the_app_is_called_in_the_scope_of_the_hosts_tenant_until_the_body_ends():
    app = App()
    sent = await call(wrap(app), request("ACTIVE.example.com:443"))
    assert [message.get("body") for message in sent] == [None, b"a", b"b"]
    assert app.tenants == ["active", "active"]
    assert app.scopes[0]["state"]["tenant"].subdomain == "active"
    with pytest.raises(MissingTenantContext):
        current_tenant()


async def test_the_scope_ends_with_an_app_that_fails():
    async def failing(_scope, _receive, _send):
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        await call(wrap(failing), request())
    with pytest.raises(MissingTenantContext):
        current_tenant()


@pytest.mark.parametrize(
    ("host", "status", "code", "retry_after"),
    [
        ("suspended.example.com", 403, "tenant_suspended", None),
        ("provisioning.example.com", 503, "tenant_not_ready", b"2"),
        ("deleting.example.com", 404, "tenant_not_found", None),
        ("deleted.example.com", 404, "tenant_not_found", None),
        ("purging.example.com", 404, "tenant_not_found", None),
        ("nobody.example.com", 404, "tenant_not_found", None),
        ("example.com", 404, "tenant_required", None),
        ("127.0.0.1:8000", 404, "tenant_required", None),
        ("active.example.com.attacker.com", 404, "tenant_required", None),
        ("a b.example.com", 400, "invalid_request", None),
        ("", 400, "invalid_request", None),
    ],
)
async def test_whoever_is_not_served_gets_a_problem_and_the_app_is_not_called(
    host, status, code, retry_after
):
    app = App()
    answered, headers, body = answer(await call(wrap(app), request(host)))
    assert (answered, body["status"], body["code"]) == (status, status, code)
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"x-error-code"] == code.encode()
    assert headers.get(b"retry-after") == retry_after
    assert {"type", "title", "detail"} <= body.keys()
    assert body["instance"] == "/p"
    assert app.scopes == []


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"host", b"active.example.com"), (b"host", b"suspended.example.com")],
        [(b"host", b"active.example.com"), (b"Host", b"active.example.com")],
        [(b"x-forwarded-host", b"active.example.com")],
    ],
)
async def test_anything_but_one_host_header_is_malformed(headers):
    app = App()
    status, _, body = answer(await call(wrap(app), request(headers=headers)))
    assert (status, body["code"]) == (400, "invalid_request")
    assert app.scopes == []


async def test_the_length_of_a_refusal_is_said_and_a_head_request_gets_no_body():
    start, body = await call(wrap(App()), request("nobody.example.com"))
    assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()
    head_start, head_body = await call(wrap(App()), request("nobody.example.com", method="HEAD"))
    assert head_start == start
    assert head_body["body"] == b""


@pytest.mark.parametrize("path", ["/p", "/health"])
async def test_tenant_headers_sent_by_a_client_never_reach_the_app(path):
    app = App()
    spoofed = [
        (b"host", b"active.example.com"),
        (b"X-Tenant-ID", b"another"),
        (b"x-tenant-name", b"Another"),
        (b"x_tenant_id", b"another"),
        (b"accept", b"*/*"),
    ]
    await call(wrap(app, exempt_paths=["/health"]), request(headers=spoofed, path=path))
    assert app.scopes[0]["headers"] == [(b"host", b"active.example.com"), (b"accept", b"*/*")]


@pytest.mark.parametrize("host", ["nobody.example.com", "127.0.0.1", ""])
async def test_an_exempt_path_is_served_on_any_host_without_a_tenant(host):
    app = App()
    await call(wrap(app, Down(), exempt_paths=["/health"]), request(host, path="/health"))
    assert app.tenants == [None, None]


@pytest.mark.parametrize("path", ["/health/", "/healthy", "/health/../p", "/HEALTH", "/p/health"])
async def test_only_the_whole_path_is_exempt(path):
    app = App()
    middleware = wrap(app, exempt_paths=["/health"])
    status, _, _ = answer(await call(middleware, request("nobody.example.com", path=path)))
    assert status == 404
    assert app.scopes == []


async def test_a_directory_that_is_down_answers_503_and_never_the_app():
    app = App()
    status, headers, body = answer(await call(wrap(app, Down()), request()))
    assert (status, body["code"], headers[b"retry-after"]) == (503, "tenant_not_ready", b"2")
    assert app.scopes == []


async def test_a_directory_that_breaks_leaves_the_app_uncalled():
    app = App()
    with pytest.raises(OSError, match="no such thing"):
        await call(wrap(app, Broken()), request())
    assert app.scopes == []


async def test_lifespan_passes_through_untouched():
    app = App()
    lifespan = {"type": "lifespan", "state": {}}
    await call(wrap(app), lifespan)
    assert app.scopes == [lifespan]
    assert app.scopes[0] is lifespan


async def test_the_state_of_the_lifespan_is_kept_and_not_written_to():
    app = App()
    shared = {"pool": object()}
    asked = request(state=shared)
    await call(wrap(app), asked)
    assert app.scopes[0]["state"].keys() == {"pool", "tenant"}
    assert shared.keys() == {"pool"}
    assert asked["state"] is shared


async def test_a_websocket_reaches_the_app_in_its_tenants_scope():
    app = App()
    assert await call(wrap(app), request(type="websocket")) == [{"type": "websocket.accept"}]
    assert app.tenants == ["active"]


@pytest.mark.parametrize(
    ("host", "code"),
    [("deleted.example.com", "tenant_not_found"), ("suspended.example.com", "tenant_suspended")],
)
async def test_a_websocket_that_is_not_served_is_closed_for_policy(host, code):
    app = App()
    sent = await call(wrap(app), request(host, type="websocket"))
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": code}]
    assert app.scopes == []


async def test_a_schema_found_missing_before_the_answer_began_answers_503():
    async def app(_scope, _receive, _send):
        raise TenantSchemaMissing("The schema is missing.")

    status, headers, body = answer(await call(wrap(app), request()))
    assert (status, body["code"]) == (503, "tenant_schema_missing")
    assert headers[b"retry-after"] == b"2"


async def test_a_schema_found_missing_in_the_midst_of_an_answer_is_the_servers_to_abort():
    async def app(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise TenantSchemaMissing("The schema is missing.")

    with pytest.raises(TenantSchemaMissing):
        await call(wrap(app), request())


def test_a_base_domain_that_is_none_is_refused_at_start():
    with pytest.raises(ValueError, match="not a domain name"):
        TenantMiddleware(App(), directory=Listed(), base_domain=".example.com")


ELSEWHERE = UUID(int=8)


@pytest.mark.parametrize(("claimed", "status"), [(UUID(int=7), 200), (ELSEWHERE, 401), (None, 200)])
async def test_a_token_must_be_the_hosts_tenants(claimed, status):
    told = []
    middleware = wrap(
        App(),
        also=[TokenClaim(lambda _asked: claimed)],
        violated=lambda v: told.append((v.kind, v.tenant.subdomain, v.claimed)),
    )
    sent = await call(middleware, request())
    assert sent[0]["status"] == status
    assert told == ([("tenant_mismatch", "active", ELSEWHERE)] if status == 401 else [])
    if status == 401:
        assert str(ELSEWHERE) not in sent[1]["body"].decode()


@pytest.mark.parametrize(("claimed", "status"), [(UUID(int=7), 200), (ELSEWHERE, 404)])
async def test_a_token_names_the_tenant_where_the_host_does_not(claimed, status):
    app = App()
    middleware = wrap(app, also=[TokenClaim(lambda _asked: claimed)])
    sent = await call(middleware, request("api.other.test"))
    assert sent[0]["status"] == status
    assert app.tenants == (["active", "active"] if status == 200 else [])


@pytest.mark.parametrize(("client", "status"), [("10.0.0.1", 200), ("192.0.2.1", 404), (None, 404)])
async def test_a_header_names_the_tenant_where_a_trusted_proxy_sends_it(client, status):
    app = App()
    headers = [(b"host", b"api.other.test"), (b"X-Tenant-Id", str(UUID(int=7)).encode())]
    scope = request(headers=headers, client=(client, 1) if client else None)
    sent = await call(wrap(app, also=[TrustedHeader(["10.0.0.0/8"])]), scope)
    assert sent[0]["status"] == status
    assert all(b"x-tenant-id" not in dict(seen["headers"]) for seen in app.scopes)


async def test_a_path_prefix_names_the_tenant_and_becomes_the_root_path():
    app = App()
    scope = request("localhost", path="/t/active/x", root_path="")
    await call(wrap(app, also=[PathPrefix()]), scope)
    assert app.tenants == ["active", "active"]
    assert (app.scopes[0]["path"], app.scopes[0]["root_path"]) == ("/t/active/x", "/t/active")


async def test_what_the_tenants_role_was_denied_is_told_of_and_passes():
    async def grabbing(_scope, _receive, _send):
        raise InsufficientPrivilege("permission denied for schema globex")

    told = []
    with pytest.raises(InsufficientPrivilege):
        await call(wrap(grabbing, violated=lambda v: told.append(v.kind)), request())
    assert told == ["denied"]


async def test_a_schema_that_is_missing_is_told_of():
    async def lost(_scope, _receive, _send):
        raise TenantSchemaMissing("gone")

    told = []
    sent = await call(wrap(lost, violated=lambda v: told.append(v.kind)), request())
    assert (sent[0]["status"], told) == (503, ["tenant_schema_missing"])


@pytest.mark.parametrize(("serves", "status"), [({"abc"}, 200), ({"abd"}, 503)])
async def test_a_tenant_at_a_revision_that_is_not_served_is_asked_to_come_back(serves, status):
    sent = await call(wrap(App(), serves=serves), request())
    assert sent[0]["status"] == status
    if status == 503:
        assert dict(sent[0]["headers"])[b"x-error-code"] == b"tenant_migrating"
