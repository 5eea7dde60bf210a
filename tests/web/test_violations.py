"""What must never happen on a tenant's host is counted and told in the logs of its tenants."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from litestar import Litestar, get
from prometheus_client import CollectorRegistry
from psycopg import sql
from psycopg.rows import dict_row

from controlplane.routing import TenantMiddleware, hear
from controlplane.routing.violations import KINDS
from controlplane.web.asgi import ASGIApp
from controlplane.web.audit_queue import AuditQueue
from controlplane.web.outer import Outer
from controlplane.web.problems import handlers
from controlplane.web.violations import Violations
from tests.database import Server
from tests.web.calls import BASE
from tests.web.members import ADMIN, USER, Json, Members, host_of, make_tenant, open_members
from tests.web.test_metrics import scraped

pytestmark = pytest.mark.anyio

INFO = "/api/tenant/info"


@dataclass(frozen=True)
class Told:
    """Two tenants, and what is told of those who reach from one to the other: of each at most ten
    rows a minute, which all tests here share."""

    members: Members

    @property
    def acme(self) -> Json:
        return self.members.acme

    @property
    def globex(self) -> Json:
        return self.members.globex

    async def ask(self, tenant: Json, *, token: str | None = None) -> httpx.Response:
        """At the tenant's host."""
        headers = {"host": host_of(tenant), "user-agent": "a\tbrowser"}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        async with self.members.site.client(None) as client:
            return await client.get(INFO, headers=headers)

    async def counted(self) -> dict[str, float]:
        async with self.members.site.client(None) as client:
            found = await scraped(client)
        name = "controlplane_isolation_violations_total"
        return {kind: found[name, kind] for kind in KINDS}

    async def rows(self, answer: httpx.Response, number: int) -> list[Json]:
        """So many rows, once they are there, of the request that was answered so."""
        async with asyncio.timeout(60):
            while len(rows := self.seen(answer)) < number:  # noqa: ASYNC110  the condition is the database's
                await asyncio.sleep(0.01)
        return rows

    def seen(self, answer: httpx.Response) -> list[Json]:
        """The rows of the request that was answered so, as far as they are there."""
        with psycopg.connect(self.members.site.database.control_url, row_factory=dict_row) as conn:
            return conn.execute(
                "SELECT * FROM public.audit_log WHERE request_id = %s ORDER BY after ->> 'side'",
                [answer.headers["x-request-id"]],
            ).fetchall()


@pytest.fixture(scope="module")
async def told(server: Server) -> AsyncIterator[Told]:
    async with open_members(server) as members:
        yield Told(members)


def names(tenant: Json) -> set[str]:
    """All that would tell who it is."""
    return {tenant["id"], UUID(tenant["id"]).hex, tenant["subdomain"], tenant["name"]}


async def test_a_token_of_one_tenant_at_anothers_host_leaves_a_row_in_the_log_of_each(
    told: Told,
) -> None:
    before = await told.counted()
    answer = await told.ask(told.acme, token=told.members.token(told.globex, USER))
    assert (answer.status_code, answer.json()["code"]) == (401, "tenant_mismatch")
    here, there = await told.rows(answer, 2)

    assert (str(here["tenant_id"]), here["after"]["side"]) == (told.acme["id"], "host")
    assert (str(there["tenant_id"]), there["after"]["side"]) == (told.globex["id"], "token")
    for row, other in ((here, told.globex), (there, told.acme)):
        assert (row["action"], row["outcome"]) == ("isolation.tenant_mismatch", "refused")
        assert (row["actor"], row["actor_kind"], row["ip"]) == (None, "visitor", "127.0.0.1")
        assert row["agent"] == "abrowser"
        assert [name for name in names(other) if name in json.dumps(row, default=str)] == []
    after = await told.counted()
    assert after == {**before, "tenant_mismatch": before["tenant_mismatch"] + 1}


async def test_the_hash_is_the_same_for_the_same_two_and_another_for_each_reader(
    told: Told,
) -> None:
    seen = []
    for host, speaker in [(told.acme, told.globex)] * 2 + [(told.globex, told.acme)]:
        answer = await told.ask(host, token=told.members.token(speaker, USER))
        seen.append(
            {row["tenant_id"]: row["after"]["other_tenant"] for row in await told.rows(answer, 2)}
        )
    assert seen[0] == seen[1] == seen[2]
    assert len(set(seen[0].values())) == 2


async def test_what_a_token_says_that_was_not_verified_is_told_of_nobody(told: Told) -> None:
    before = await told.counted()
    good = told.members.token(told.globex, USER)
    answer = await told.ask(told.acme, token=f"{good}x")
    assert answer.status_code == 401
    after_it = await told.ask(told.acme, token=good)
    await told.rows(after_it, 2)
    # Rows are written in their order: what is not there by now never will be.
    assert told.seen(answer) == []
    assert (await told.counted())["tenant_mismatch"] == before["tenant_mismatch"] + 1


async def test_a_token_of_a_tenant_that_never_was_is_told_to_the_host_alone(told: Told) -> None:
    nobodys = told.members.token({"id": str(uuid4())}, USER)
    (row,) = await told.rows(await told.ask(told.acme, token=nobodys), 1)
    assert str(row["tenant_id"]) == told.acme["id"]


async def test_a_schema_that_is_missing_is_told(told: Told) -> None:
    site = told.members.site
    async with site.client() as client, site.working():
        lost = await make_tenant(client)
    told.members.execute(lost, "DROP SCHEMA {role} CASCADE")
    before = await told.counted()
    answer = await told.ask(lost)
    assert (answer.status_code, answer.json()["code"]) == (503, "tenant_schema_missing")
    (row,) = await told.rows(answer, 1)
    assert (str(row["tenant_id"]), row["action"]) == (lost["id"], "isolation.tenant_schema_missing")
    assert row["after"] == {"side": "host"}
    kind = "tenant_schema_missing"
    assert await told.counted() == {**before, kind: before[kind] + 1}


async def test_what_postgresql_refuses_the_tenants_role_is_told(told: Told) -> None:
    before = await told.counted()
    told.members.execute(told.acme, "REVOKE SELECT ON users FROM {role}")
    async with told.members.at(told.acme, ADMIN) as client:
        answer = await client.get("/api/tenant/stats")
    told.members.execute(told.acme, "GRANT SELECT ON users TO {role}")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    (row,) = await told.rows(answer, 1)
    assert (str(row["tenant_id"]), row["action"]) == (told.acme["id"], "isolation.denied")
    assert await told.counted() == {**before, "denied": before["denied"] + 1}


@dataclass(frozen=True)
class Whose:
    id: UUID


def crossing(told: Told, violations: Violations) -> ASGIApp:
    """An application at Acme's host that reaches for Globex's rows, as a bug would."""
    tenancy = told.members.site.parts.tenancy

    @get("/denied")
    async def denied() -> None:
        users = sql.Identifier(told.globex["schema_name"], "users")
        async with tenancy.transaction() as conn:
            await conn.execute(sql.SQL("SELECT * FROM {}").format(users))

    @get("/conflict")
    async def conflict() -> None:
        async with tenancy.transaction(Whose(UUID(told.globex["id"]))):
            raise AssertionError

    app = Litestar(
        [denied, conflict],
        exception_handlers=handlers(),
        after_exception=[hear],
        openapi_config=None,
        logging_config=None,
    )
    directory = told.members.site.parts.directory
    return Outer(TenantMiddleware(app, directory=directory, base_domain=BASE, violated=violations))


@pytest.mark.parametrize(
    ("path", "kind"), [("/denied", "denied"), ("/conflict", "tenant_context_conflict")]
)
async def test_a_handler_that_reaches_for_another_tenants_rows_is_told_of_once(
    told: Told, path: str, kind: str
) -> None:
    registry = CollectorRegistry()
    audit = AuditQueue(told.members.site.parts.control, registry=registry)
    app = crossing(told, Violations(audit, registry=registry))
    async with told.members.at(told.acme, app=app) as client:
        answer = await client.get(path)
    await audit.close()
    assert answer.status_code == 500
    assert [name for name in names(told.globex) if name in answer.text] == []
    (row,) = told.seen(answer)
    assert (str(row["tenant_id"]), row["action"]) == (told.acme["id"], f"isolation.{kind}")
    counted = "controlplane_isolation_violations_total"
    assert registry.get_sample_value(counted, {"kind": kind}) == 1
