"""The code of docs/how-to/embed.md, behind a real server."""

import asyncio
import contextlib
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from controlplane.errors import MissingTenantContext
from controlplane.routing import Tenancy, TenantDirectory, current_tenant, tenant_scope

pytestmark = pytest.mark.anyio

GUIDE = Path(__file__).parents[3] / "docs" / "how-to" / "embed.md"
BASE = "example.com"


def _blocks():
    """The guide's code; of what it changes, as it is afterwards."""
    found = re.findall(r"^```(python|diff)\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    return [_without("-", code) if kind == "diff" else code for kind, code in found]


def _without(sign, change):
    lines = change.splitlines(keepends=True)
    return "".join(line[1:] for line in lines if not line.startswith(sign))


def test_ten_lines_make_an_application_of_one_company_one_of_many():
    (change,) = re.findall(r"^```diff\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    before: dict[str, Any] = {}
    exec(compile(_without("+", change), str(GUIDE), "exec"), before)  # noqa: S102  what a reader has
    assert isinstance(before["create_app"]("", BASE), FastAPI)
    assert "controlplane" not in _without("+", change)
    assert 1 <= len(re.findall(r"^\+", change, re.MULTILINE)) <= 10


@pytest.fixture(scope="module")
def guide():
    """The names that the guide's code defines."""
    module = ModuleType("embed_guide")
    sys.modules[module.__name__] = module  # Litestar looks annotations up there
    for block in _blocks():
        exec(compile(block, str(GUIDE), "exec"), vars(module))  # noqa: S102  what a reader would run
    yield vars(module)
    del sys.modules[module.__name__]


@contextlib.asynccontextmanager
async def _served(app):
    """A client of the app behind uvicorn on loopback; `host=` says whose tenant's host it asks."""
    config = uvicorn.Config(app, port=0, lifespan="on", log_config=None, ws="none")
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:
        assert not running.done(), running
        await asyncio.sleep(0)
    port = server.servers[0].sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}/notes"
    try:
        async with httpx2.AsyncClient(trust_env=False, timeout=60) as client:
            yield lambda host, **headers: client.get(url, headers={"Host": host, **headers})
    finally:
        server.should_exit = True
        await running


@pytest.mark.parametrize("create", ["create_app", "create_litestar_app"])
async def test_each_host_sees_its_tenants_rows_whatever_the_headers_say(world, guide, create):
    async with _served(guide[create](world.app, BASE)) as get:
        for name, other in [("acme", world.globex), ("globex", world.acme)]:
            answer = await get(f"{name}.{BASE}:8000", **{"X-Tenant-ID": str(other.id)})
            assert answer.status_code == 200
            assert name in answer.text
            assert other.subdomain not in answer.text


@pytest.mark.requires("redis-server")
async def test_processes_that_share_a_redis_do_as_well_and_do_without(world, guide, redis):
    async with (
        _served(guide["create_sharing_app"](world.app, BASE, redis.url)) as get,
        _served(guide["create_sharing_app"](world.app, BASE, redis.url)) as ask,
    ):
        for each in (get, ask):
            assert (await each(f"acme.{BASE}")).json() == {"notes": ["acme"]}
        redis.stop()
        try:
            for each in (get, ask):
                assert (await each(f"globex.{BASE}")).json() == {"notes": ["globex"]}
        finally:
            redis.start()


async def _answer_other_than(before, get, state):
    """A change is seen within seconds. `deleted` is answered as `deleting` is."""
    async with asyncio.timeout(60):
        while True:
            answer = await get(f"acme.{BASE}")
            told = (answer.status_code, answer.headers.get("x-error-code"))
            if told not in before or state in {"deleted", "purging"}:
                return told


@pytest.mark.parametrize("create", ["create_app", "create_litestar_app"])
async def test_every_state_has_its_answer_and_a_deleted_host_is_refused(world, guide, create):
    async with _served(guide[create](world.app, BASE)) as get:
        answers: dict[str, tuple[int, str | None]] = {}
        for state in ("active", "provisioning", "suspended", "deleting", "deleted", "purging"):
            world.do(f"UPDATE public.tenants SET state = '{state}' WHERE subdomain = 'acme'")  # noqa: S608  a constant
            before = list(answers.values())[-1:]
            answers[state] = await _answer_other_than(before, get, state)
        assert answers == {
            "active": (200, None),
            "provisioning": (503, "tenant_not_ready"),
            "suspended": (403, "tenant_suspended"),
            "deleting": (404, "tenant_not_found"),
            "deleted": (404, "tenant_not_found"),
            "purging": (404, "tenant_not_found"),
        }
        nobody = await get(f"nobody.{BASE}")
        assert (nobody.status_code, nobody.json()["code"]) == (404, "tenant_not_found")
        assert (await get(BASE)).json()["code"] == "tenant_required"


@pytest.mark.parametrize("create", ["create_app", "create_litestar_app"])
async def test_a_schema_dropped_by_hand_answers_503_and_nobodys_rows(world, guide, create):
    world.do("DROP SCHEMA {tenant} CASCADE", tenant=world.acme.schema)
    world.do("CREATE TABLE public.notes AS SELECT 1 AS id, 'decoy' AS body")
    world.do("GRANT USAGE ON SCHEMA public TO PUBLIC; GRANT SELECT ON public.notes TO PUBLIC")
    async with _served(guide[create](world.app, BASE)) as get:
        answer = await get(f"acme.{BASE}")
        assert (answer.status_code, answer.json()["code"]) == (503, "tenant_schema_missing")
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["retry-after"] == "2"
        assert (await get(f"globex.{BASE}")).status_code == 200


async def test_a_registry_that_cannot_be_read_answers_503(world, guide):
    async with _served(guide["create_app"](world.app, BASE)) as get:
        world.do("DROP VIEW public.tenant_registry")
        answer = await get(f"acme.{BASE}")
        assert (answer.status_code, answer.json()["code"]) == (503, "tenant_not_ready")


async def test_hundreds_of_requests_at_once_each_see_their_own(world, guide):
    async with _served(guide["create_app"](world.app, BASE)) as get:
        for _ in range(5):
            hosts = ["acme", "globex"] * 20
            answers = await asyncio.gather(*(get(f"{host}.{BASE}") for host in hosts))
            assert [answer.json()["notes"] for answer in answers] == [[host] for host in hosts]


async def test_a_job_names_its_tenant(world, pool, guide):
    queue: list[dict[str, str]] = []
    with tenant_scope(world.acme):
        guide["enqueue"](queue, {"kind": "count"})
    directory, tenancy = TenantDirectory(pool), Tenancy(pool)
    world.do("DELETE FROM {tenant}.notes", tenant=world.globex.schema)
    assert await guide["count_notes"](queue[0], directory, tenancy) == 1
    globex = {**queue[0], "tenant_id": str(world.globex.id)}
    assert await guide["count_notes"](globex, directory, tenancy) == 0
    with pytest.raises(MissingTenantContext):
        await guide["count_notes"]({"kind": "count"}, directory, tenancy)
    with pytest.raises(MissingTenantContext):
        current_tenant()


def test_threads_have_the_same(world, guide):
    answers = []
    with ConnectionPool(world.app, min_size=1, max_size=1, open=True) as pool:
        app = guide["create_wsgi_app"](pool, BASE)
        for host in (f"acme.{BASE}", f"globex.{BASE}", f"nobody.{BASE}"):
            environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/notes", "HTTP_HOST": host}
            told: list[str] = []
            body = app(environ, lambda status, _headers, told=told: told.append(status))
            answers.append((told[0], json.loads(b"".join(body))))
            getattr(body, "close", lambda: None)()
    assert answers[:2] == [("200 OK", ["acme"]), ("200 OK", ["globex"])]
    assert (answers[2][0], answers[2][1]["code"]) == ("404 Not Found", "tenant_not_found")


async def test_a_streaming_body_reads_its_own_tenant_to_the_end(world, guide):
    async with AsyncConnectionPool(world.app, min_size=2, open=False) as pool:
        tenancy = guide["Tenancy"](pool)
        half_way = asyncio.Barrier(2)

        async def stream(scope, _receive, send):
            if scope["type"] == "lifespan":
                return
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for more in (True, False):
                async with tenancy.transaction() as conn:
                    (body,) = await (await conn.execute("SELECT body FROM notes")).fetchone()
                await send({"type": "http.response.body", "body": body.encode(), "more_body": more})
                await half_way.wait()

        directory = guide["TenantDirectory"](pool)
        app = guide["TenantMiddleware"](stream, directory=directory, base_domain=BASE)
        sent = {"acme": b"", "globex": b""}

        async def ask(host):
            async def send(message):
                sent[host] += message.get("body", b"")

            headers = [(b"host", f"{host}.{BASE}".encode())]
            scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
            await app(scope, None, send)

        async with asyncio.TaskGroup() as both:
            both.create_task(ask("acme"))
            both.create_task(ask("globex"))
    assert sent == {"acme": b"acmeacme", "globex": b"globexglobex"}
