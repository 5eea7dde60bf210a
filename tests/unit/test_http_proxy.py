"""The proxy that answers in a server's place for other tests."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from tests.http_proxy import Fault, HttpProxy

pytestmark = pytest.mark.anyio


@pytest.fixture
async def stood() -> AsyncIterator[tuple[HttpProxy, HttpProxy, httpx2.AsyncClient]]:
    """A proxy, the server behind it (of the same kind: it answers "done" to what it hears), and a
    client."""
    async with (
        HttpProxy("http://127.0.0.1:1") as server,
        HttpProxy(server.url) as proxy,
        httpx2.AsyncClient(base_url=proxy.url, trust_env=False, timeout=60) as client,
    ):
        server.faults.append(Fault(201, headers={"X-Of": "server"}, body=b"done", times=99))
        yield proxy, server, client


async def test_without_a_fault_everything_passes(stood):
    proxy, server, client = stood
    answer = await client.post("/zones?page=2", content=b"wish", headers={"X-Of": "client"})
    assert (answer.status_code, answer.text, answer.headers["x-of"]) == (201, "done", "server")
    assert server.requests[0][:2] == ("POST", "/zones?page=2")
    assert (server.requests[0].headers["x-of"], server.requests[0].body) == ("client", b"wish")
    assert len(proxy.requests) == 1


async def test_a_fault_answers_as_often_as_it_says_and_the_server_hears_nothing(stood):
    proxy, server, client = stood
    proxy.faults.append(Fault(429, headers={"Retry-After": "2"}, times=2))
    answers = [await client.get("/zones") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 201]
    assert answers[0].headers["retry-after"] == "2"
    assert (len(server.requests), len(proxy.requests)) == (1, 3)


async def test_the_answer_alone_may_be_lost(stood):
    proxy, server, client = stood
    proxy.faults.append(Fault(503, after_effect=True))
    assert (await client.post("/zones", content=b"wish")).status_code == 503
    assert [request.body for request in server.requests] == [b"wish"]


async def test_a_fault_strikes_only_what_it_is_meant_for(stood):
    proxy, _, client = stood
    proxy.faults.append(Fault(500, method="DELETE", target="/records"))
    statuses = [
        (await client.request(method, target)).status_code
        for method, target in (("GET", "/records"), ("DELETE", "/zones"), ("DELETE", "/records/1"))
    ]
    assert statuses == [201, 201, 500]
