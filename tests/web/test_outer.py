"""What every answer has, whatever it answers, and what the log says of it."""

import httpx
import pytest
from structlog.testing import capture_logs

from controlplane.web.asgi import ASGIApp, Receive, Scope, Send
from controlplane.web.outer import Outer
from tests.web.calls import BASE, TENANTS, Site, new_tenant

pytestmark = pytest.mark.anyio

SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


@pytest.mark.parametrize(
    ("method", "path", "host"),
    [
        ("GET", TENANTS, "127.0.0.1"),
        ("GET", "/nope", "127.0.0.1"),
        ("PUT", TENANTS, "127.0.0.1"),
        ("GET", "/api/tenant/info", f"nobody.{BASE}"),
        ("GET", "/health/live", "127.0.0.1"),
        ("GET", TENANTS, "a b"),
    ],
)
async def test_every_answer_has_an_id_and_security_headers(
    site: Site, method: str, path: str, host: str
) -> None:
    async with site.client() as client:
        answer = await client.request(
            method, path, headers={"x-request-id": "mine.1", "host": host}
        )
    assert answer.headers.get_list("x-request-id") == ["mine.1"]
    assert {name: answer.headers[name] for name in SECURITY} == SECURITY
    if answer.is_error:
        body = answer.json()
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["x-error-code"] == body["code"]
        assert body["instance"] == path
        assert body["request_id"] == "mine.1"


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "a\r\nx: y", "ä", "a;b"])
async def test_a_request_id_that_does_not_fit_is_replaced(site: Site, given: str) -> None:
    async with site.client() as client:
        headers = [("x-request-id", given.encode("latin-1"))]
        answer = await client.get("/nope", headers=headers)  # type: ignore[arg-type]  # bytes do
    assert len(answer.headers["x-request-id"]) == 32
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_the_log_holds_the_template_and_no_secret(site: Site) -> None:
    secret = site.tokens["admin"]
    with capture_logs() as logs:
        async with site.client() as client:
            accepted = (await client.post(TENANTS, json=new_tenant(name="Hush"))).json()
            await client.get(f"{accepted['links']['tenant']}?token={secret}")
            await client.get(f"/reset/{secret}", headers={"cookie": f"session={secret}"})
    requests = [(line["method"], line["path"], line["status"]) for line in logs]
    assert requests == [
        ("POST", TENANTS, 202),
        ("GET", f"{TENANTS}/{{tenant_id}}", 422),
        ("GET", None, 404),
    ]
    assert all(set(line) >= {"request_id", "seconds"} for line in logs)
    assert secret not in repr(logs)
    assert "Hush" not in repr(logs)
    assert accepted["tenant_id"] not in repr(logs)


async def _broken(_: Scope, __: Receive, ___: Send) -> None:
    raise RuntimeError("password=hunter2")


async def _half(_: Scope, __: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise RuntimeError("too late")


async def _abandoned(_: Scope, receive: Receive, __: Send) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    raise RuntimeError("the client has left")


def client_of(app: ASGIApp) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(Outer(app))
    return httpx.AsyncClient(transport=transport, base_url="http://any.test")


async def test_an_unexpected_error_is_a_problem_without_its_text() -> None:
    with capture_logs() as logs:
        async with client_of(_broken) as client:
            answer = await client.get("/")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "hunter2" not in answer.text
    assert [line["event"] for line in logs] == ["request_failed", "request"]
    assert logs[1]["status"] == 500


async def test_an_answer_that_breaks_off_is_not_answered_twice() -> None:
    with capture_logs() as logs:
        async with client_of(_half) as client:
            with pytest.raises(RuntimeError, match="too late"):
                await client.get("/")
    assert [line["event"] for line in logs] == ["request_failed", "request"]


async def test_a_client_that_leaves_is_no_failure_and_what_broke_meanwhile_is_told() -> None:
    sent: list[object] = []

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(message: object) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    with capture_logs() as logs:
        await Outer(_abandoned)(scope, receive, send)
    assert sent == []
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("request_left", "warning"),
        ("request", "info"),
    ]
    assert logs[1]["status"] is None
