"""A tenant's own domain is its host, or leads to the one that it has moved to."""

import json
from dataclasses import replace
from typing import Any

import pytest

from controlplane.domain.tenants import TenantState
from controlplane.routing import TenantMiddleware, TokenClaim
from controlplane.routing.wsgi import TenantWSGIMiddleware
from tests.unit.routing.both import (
    ACME,
    GLOBEX,
    PROXY,
    STRANGER,
    Down,
    Listed,
    app_of_asgi,
    asgi,
    both,
    wsgi,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "host",
    ["portal.acme.test", "PORTAL.Acme.test", "portal.acme.test.", "portal.acme.test:8443"],
)
async def test_a_tenant_is_served_at_its_own_domain_however_it_is_written(host):
    assert (await asgi(host))[0::2] == (200, "acme")
    assert wsgi(host)[0::2] == (200, "acme")


@pytest.mark.parametrize(
    "host",
    ["acme.test", "a.portal.acme.test", "portal.acme.test.evil.test", "evilportal.acme.test"],
)
async def test_no_other_host_leads_there(host):
    status, headers, _ = await both(host)
    assert (status, headers["x-error-code"]) == (404, "tenant_required")


@pytest.mark.parametrize("host", ["ada@portal.acme.test", "pörtal.acme.test", "portal.acme.test/x"])
async def test_what_is_no_host_name_is_not_looked_up(host):
    directory = Listed()
    status, headers, _ = await asgi(host, directory=directory)
    assert (status, headers["x-error-code"]) == (400, "invalid_request")
    assert directory.asked == []


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "[::ffff:127.0.0.1]:80",
        "internal",
        "example.com",
        "a.b.example.com",
        "a_b.test",
    ],
)
async def test_what_can_be_no_tenants_domain_is_not_looked_up(host):
    directory = Listed()
    status, headers, _ = await asgi(host, directory=directory)
    assert (status, headers["x-error-code"]) == (404, "tenant_required")
    assert directory.asked == []


@pytest.mark.parametrize("state", list(TenantState))
async def test_an_own_domain_is_answered_as_its_tenants_subdomain(state):
    class AtSubdomain(Listed):
        def lookup_now(self, name):
            return replace(ACME, state=state) if name == "acme" else super().lookup_now(name)

    own = await asgi(f"{state}.test")
    below = await asgi("acme.example.com", directory=AtSubdomain())
    for answer in (own, below):
        answer[1].pop("content-length", None)
    assert own[:2] == below[:2]
    assert own[2].replace(f"{state}.test", "acme") == below[2]


async def test_a_directory_that_is_down_lets_nobody_in_at_a_foreign_host():
    claimed = TokenClaim(lambda _asked: ACME.id)
    for also in ([], [claimed]):
        status, headers, _ = await asgi("portal.acme.test", directory=Down(), also=also)
        assert (status, headers["x-error-code"]) == (503, "tenant_not_ready")


@pytest.mark.parametrize(
    ("host", "claimed", "status", "answer"),
    [
        ("portal.acme.test", ACME, 200, "acme"),
        ("portal.acme.test", GLOBEX, 401, "tenant_mismatch"),
        ("old.acme.test", GLOBEX, 401, "tenant_mismatch"),
        ("api.nobody.test", GLOBEX, 200, "globex"),
        ("deleted.test", GLOBEX, 404, "tenant_not_found"),
    ],
)
async def test_a_token_must_agree_with_an_own_domain_too(host, claimed, status, answer):
    said = await both(host, also=[TokenClaim(lambda _asked: claimed.id)])
    assert said[0] == status
    assert answer in said[2]


TARGETS = [
    "/",
    "/a%2Fb/%E2%82%AC;x=1?q=%20+&u=https://evil.test/#",
    "//evil.test/%5C?",
    "/\\evil.test",
    "/@evil.test:443/",
    "/?next=//evil.test&a=1&a=2",
]


@pytest.mark.parametrize("target", TARGETS)
async def test_a_host_that_has_moved_sends_on_path_and_query_as_they_came(target):
    status, headers, body = await asgi("OLD.acme.test:8443", target)
    assert (status, body) == (308, "")
    assert headers == {
        "location": f"https://portal.acme.test{target.removesuffix('?')}",
        "cache-control": "no-store",
        "content-type": "text/plain",
        "content-length": "0",
    }
    path, _, query = target.partition("?")
    for name in ("RAW_URI", "REQUEST_URI"):
        decoded = {"PATH_INFO": "/decoded", name: f"{path}?{query}"}
        assert wsgi("OLD.acme.test:8443", environ=decoded) == (status, headers, body)


def test_a_path_that_the_server_has_decoded_is_written_anew():
    environ = {"SCRIPT_NAME": "/app", "PATH_INFO": "/a b/é".encode().decode("latin-1")}
    _, headers, _ = wsgi("old.acme.test", environ={**environ, "QUERY_STRING": "q=%20"})
    assert headers["location"] == "https://portal.acme.test/app/a%20b/%C3%A9?q=%20"


@pytest.mark.parametrize(
    ("path", "sent_to"),
    [
        ("@evil.test/x", "/"),
        (".evil.test", "/"),
        ("*", "/"),
        ("http://evil.test/", "/"),
        ("", "/"),
        ("/a\r\nset-cookie: x=1", "/a%0D%0Aset-cookie:%20x=1"),
        ("/\x00\x7fé", "/%00%7F%E9"),
    ],
)
async def test_no_path_becomes_a_part_of_the_host_or_a_header(path, sent_to):
    status, headers, _ = await asgi("old.acme.test", path)
    assert (status, headers["location"]) == (308, f"https://portal.acme.test{sent_to}")


@pytest.mark.parametrize(
    ("client", "said", "scheme"),
    [
        (PROXY, [b"http"], "http"),
        (PROXY, [b"https"], "https"),
        (PROXY, [b"javascript"], "https"),
        (PROXY, [], "https"),
        (STRANGER, [b"http"], "https"),
    ],
)
async def test_only_a_trusted_proxy_says_that_it_was_asked_in_the_clear(client, said, scheme):
    headers = [(b"x-forwarded-proto", value) for value in said]
    _, answered, _ = await both(
        "old.acme.test", "/x", client=client, headers=headers, proxies=["10.0.0.0/8"]
    )
    assert answered["location"] == f"{scheme}://portal.acme.test/x"


async def test_a_client_that_names_a_host_is_sent_to_none_of_his_choice():
    spoof = [(b"x-forwarded-host", b"evil.test"), (b"x-forwarded-proto", b"http")]
    _, headers, _ = await both("old.acme.test", "/x", headers=spoof)
    assert headers["location"] == "https://portal.acme.test/x"


async def test_a_websocket_is_served_where_it_came():
    assert await asgi("old.acme.test", kind="websocket") == "websocket.accept"


async def test_who_is_not_served_is_not_sent_on():
    status, headers, body = await both("old.suspended.test")
    assert (status, headers["x-error-code"]) == (403, "tenant_suspended")
    assert "portal.acme.test" not in body
    assert json.loads(body)["detail"] == "The tenant at 'old.suspended.test' is suspended."


def test_what_is_no_network_is_refused_at_the_start():
    options: Any = {"directory": Listed(), "base_domain": "example.com", "proxies": ["everywhere"]}
    app: Any = app_of_asgi
    for middleware in (TenantMiddleware, TenantWSGIMiddleware):
        with pytest.raises(ValueError, match=r"."):
            middleware(app, **options)
