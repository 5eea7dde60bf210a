"""What must never happen on a tenant's host is counted and told in the logs of its tenants."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from litestar import Litestar, get
from prometheus_client import CollectorRegistry
from psycopg import sql
from psycopg.rows import dict_row

from controlplane.domain.principals import Principal, PrincipalKind
from controlplane.identity.tokens import SignedTokens
from controlplane.routing import TenantMiddleware, current_tenant, hear
from controlplane.web.audit_queue import AuditQueue
from controlplane.web.outer import Outer
from controlplane.web.problems import handlers
from controlplane.web.violations import Violations
from tests.database import Server, fresh_database
from tests.web.calls import BASE, TENANTS, Site, new_tenant, open_site
from tests.web.test_metrics import scraped

pytestmark = pytest.mark.anyio

KEY = "a key of these tests, of 32 bytes or more"
INFO = "/api/tenant/info"


@dataclass(frozen=True)
class Pair:
    """Two tenants, as the API shows them."""

    site: Site
    acme: dict[str, Any]
    globex: dict[str, Any]

    async def ask(
        self, tenant: dict[str, Any], *, token: str | None = None, key: str = KEY
    ) -> httpx.Response:
        """At the tenant's host, with a token of the tenant of this id, signed by this key."""
        headers = {"host": f"{tenant['subdomain']}.{BASE}", "user-agent": "a\tbrowser"}
        if token is not None:
            headers["authorization"] = f"Bearer {signed(token, key)}"
        async with self.site.client(None) as client:
            return await client.get(INFO, headers=headers)

    async def counted(self) -> dict[str, float]:
        async with self.site.client(None) as client:
            found = await scraped(client)
        name = "controlplane_isolation_violations_total"
        return {
            kind: number
            for (metric, *kinds), number in found.items()
            for kind in kinds
            if metric == name
        }

    async def rows(self, answer: httpx.Response, number: int) -> list[dict[str, Any]]:
        """So many rows, once they are there, of the request that was answered so."""
        async with asyncio.timeout(30):
            while len(rows := self.seen(answer)) < number:  # noqa: ASYNC110  the condition is the database's
                await asyncio.sleep(0.01)
        return rows

    def seen(self, answer: httpx.Response) -> list[dict[str, Any]]:
        """The rows of the request that was answered so, as far as they are there."""
        with psycopg.connect(self.site.database.control_url, row_factory=dict_row) as conn:
            return conn.execute(
                "SELECT * FROM public.audit_log WHERE request_id = %s ORDER BY after ->> 'side'",
                [answer.headers["x-request-id"]],
            ).fetchall()


def signed(tenant_id: str, key: str) -> str:
    tokens = SignedTokens(key.encode(), audience=BASE)
    somebody = Principal(uuid4(), UUID(tenant_id), frozenset(), PrincipalKind.USER)
    return tokens.issue(somebody, lifetime=timedelta(minutes=5))


@pytest.fixture(scope="module")
async def pair(server: Server) -> AsyncIterator[Pair]:
    with fresh_database(server) as database:
        async with open_site(database, CONTROLPLANE_TENANT_TOKEN_KEY=KEY) as site:
            async with site.client() as client, site.working():
                made = [
                    (await client.post(TENANTS, json=body, headers={"prefer": "wait=30"})).headers
                    for body in (new_tenant(), new_tenant(name="Globex"))
                ]
                acme, globex = [(await client.get(one["location"])).json() for one in made]
            yield Pair(site, acme, globex)


def names(tenant: dict[str, Any]) -> set[str]:
    """All that would tell who it is."""
    return {tenant["id"], UUID(tenant["id"]).hex, tenant["subdomain"], tenant["name"]}


async def test_a_token_of_one_tenant_at_anothers_host_leaves_a_row_in_the_log_of_each(
    pair: Pair,
) -> None:
    before = await pair.counted()
    answer = await pair.ask(pair.acme, token=pair.globex["id"])
    assert (answer.status_code, answer.json()["code"]) == (401, "tenant_mismatch")
    here, there = await pair.rows(answer, 2)

    assert (str(here["tenant_id"]), here["after"]["side"]) == (pair.acme["id"], "host")
    assert (str(there["tenant_id"]), there["after"]["side"]) == (pair.globex["id"], "token")
    for row, other in ((here, pair.globex), (there, pair.acme)):
        assert (row["action"], row["outcome"]) == ("isolation.tenant_mismatch", "refused")
        assert (row["actor"], row["actor_kind"], row["ip"]) == (None, "visitor", "127.0.0.1")
        assert row["agent"] == "abrowser"
        assert [name for name in names(other) if name in json.dumps(row, default=str)] == []
    after = await pair.counted()
    assert after == {**before, "tenant_mismatch": before["tenant_mismatch"] + 1}


async def test_the_hash_tells_the_same_two_apart_from_others_and_is_nobody_elses(
    pair: Pair,
) -> None:
    seen = []
    for host, token in [
        (pair.acme, pair.globex),
        (pair.acme, pair.globex),
        (pair.globex, pair.acme),
    ]:
        answer = await pair.ask(host, token=token["id"])
        seen += [row["after"]["other_tenant"] for row in await pair.rows(answer, 2)]
    acme_sees, globex_sees, *again, globex_is_host, acme_is_token = seen
    assert again == [acme_sees, globex_sees] == [acme_is_token, globex_is_host]
    assert acme_sees != globex_sees


async def test_what_a_token_says_that_was_not_verified_is_told_of_nobody(pair: Pair) -> None:
    before = await pair.counted()
    answer = await pair.ask(pair.acme, token=pair.globex["id"], key="somebody else's key" * 2)
    assert answer.status_code in {200, 401}
    told = await pair.ask(pair.acme, token=pair.globex["id"])
    await pair.rows(told, 2)
    # Rows are written in their order: what is not there by now never will be.
    assert pair.seen(answer) == []
    assert (await pair.counted())["tenant_mismatch"] == before["tenant_mismatch"] + 1


async def test_a_token_of_a_tenant_that_never_was_is_told_to_the_host_alone(pair: Pair) -> None:
    answer = await pair.ask(pair.acme, token=str(uuid4()))
    (row,) = await pair.rows(answer, 1)
    assert str(row["tenant_id"]) == pair.acme["id"]


async def test_a_schema_that_is_missing_is_told(pair: Pair) -> None:
    async with pair.site.client() as client, pair.site.working():
        made = await client.post(TENANTS, json=new_tenant(), headers={"prefer": "wait=30"})
        lost = (await client.get(made.headers["location"])).json()
    with psycopg.connect(pair.site.database.superuser_url) as conn:
        schema = sql.Identifier(lost["schema_name"])
        conn.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(schema))
    before = await pair.counted()
    answer = await pair.ask(lost)
    assert (answer.status_code, answer.json()["code"]) == (503, "tenant_schema_missing")
    (row,) = await pair.rows(answer, 1)
    assert (str(row["tenant_id"]), row["action"]) == (lost["id"], "isolation.tenant_schema_missing")
    assert row["after"] == {"side": "host"}
    assert await pair.counted() == {
        **before,
        "tenant_schema_missing": before["tenant_schema_missing"] + 1,
    }


@dataclass(frozen=True)
class Crossing:
    """An application that reaches for the other tenant's rows, as a bug would."""

    pair: Pair
    audit: AuditQueue
    registry: CollectorRegistry

    async def ask(self, path: str) -> httpx.Response:
        """At Acme's host."""
        transport = httpx.ASGITransport(Outer(self._app()))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.get(path, headers={"host": f"{self.pair.acme['subdomain']}.{BASE}"})

    def counted(self, kind: str) -> float | None:
        name = "controlplane_isolation_violations_total"
        return self.registry.get_sample_value(name, {"kind": kind})

    def _app(self) -> Any:
        tenancy, other = self.pair.site.parts.tenancy, self.pair.globex

        @get("/denied")
        async def denied() -> None:
            users = sql.Identifier(other["schema_name"], "users")
            async with tenancy.transaction() as conn:
                await conn.execute(sql.SQL("SELECT * FROM {}").format(users))

        @get("/conflict")
        async def conflict() -> None:
            assert str(current_tenant().id) != other["id"]
            async with tenancy.transaction(Whose(UUID(other["id"]))):
                raise AssertionError

        app = Litestar(
            [denied, conflict],
            exception_handlers=handlers(),
            after_exception=[hear],
            openapi_config=None,
            logging_config=None,
        )
        return TenantMiddleware(
            app,
            directory=self.pair.site.parts.directory,
            base_domain=BASE,
            violated=Violations(self.audit, registry=self.registry),
        )


@dataclass(frozen=True)
class Whose:
    id: UUID


@pytest.fixture
async def crossing(pair: Pair) -> AsyncIterator[Crossing]:
    registry = CollectorRegistry()
    audit = AuditQueue(pair.site.parts.control, registry=registry)
    yield Crossing(pair, audit, registry)
    await audit.close()


@pytest.mark.parametrize(
    ("path", "kind"), [("/denied", "denied"), ("/conflict", "tenant_context_conflict")]
)
async def test_a_handler_that_reaches_for_another_tenants_rows_is_told_of_once(
    crossing: Crossing, path: str, kind: str
) -> None:
    answer = await crossing.ask(path)
    assert answer.status_code == 500
    assert [name for name in names(crossing.pair.globex) if name in answer.text] == []
    (row,) = await crossing.pair.rows(answer, 1)
    assert (str(row["tenant_id"]), row["action"]) == (crossing.pair.acme["id"], f"isolation.{kind}")
    assert crossing.counted(kind) == 1
