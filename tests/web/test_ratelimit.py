"""How often a tenant, and each who speaks there, may ask: over replicas that share nothing but the
database, or a Redis beside it."""

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from controlplane import wiring
from controlplane.domain.principals import Principal, PrincipalKind
from controlplane.identity.keys import signed_tokens
from controlplane.ports import RateLimits
from controlplane.settings import Settings
from controlplane.store.ratelimit import PostgresRateLimits
from controlplane.store.ratelimit_sheltered import ShelteredRateLimits
from controlplane.web.app import create_app
from tests.contract.ratelimit_peers import PATIENCE_S, pool_of, redis_peer, wait_for_counts
from tests.database import Database, Server, fresh_database
from tests.redis import RedisServer
from tests.web.calls import BASE, TENANTS, make_active, new_tenant, open_site, settings_of

pytestmark = pytest.mark.anyio

INFO = "/api/tenant/info"
KEY = "a key of the tests, long enough!"
_POLICY = re.compile(r'"(\w+)";q=(\d+);w=60')
_STANDING = re.compile(r'"(\w+)";r=(\d+);t=(\d+)')


@dataclass(frozen=True)
class Two:
    """Two active tenants, by subdomain their ids."""

    database: Database
    acme: str
    globex: str
    ids: dict[str, UUID]

    def forget(self) -> None:
        with psycopg.connect(self.database.superuser_url) as conn:
            conn.execute("TRUNCATE public.rate_counts")


@dataclass(frozen=True)
class Replica:
    """One process's API."""

    app: Any
    parts: wiring.Parts

    async def ask(
        self, subdomain: str, path: str = INFO, *, peer: str = "192.0.2.1", **asked: Any
    ) -> httpx.Response:
        headers = {"host": f"{subdomain}.{BASE}", **asked.pop("headers", {})}
        transport = httpx.ASGITransport(self.app, client=(peer, 4711))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://x", timeout=60
        ) as client:
            return await client.request(asked.pop("method", "GET"), path, headers=headers, **asked)

    async def metrics(self) -> str:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://10.0.0.1") as client:
            return (await client.get("/metrics")).text

    def speaks(self, tenant_id: UUID) -> dict[str, str]:
        """The header of a new user of the tenant."""
        tokens = signed_tokens(self.parts.settings)
        assert tokens is not None
        user = Principal(uuid4(), tenant_id, frozenset({"user"}), PrincipalKind.USER)
        return {"authorization": f"Bearer {tokens.issue(user, lifetime=timedelta(hours=1))}"}


@pytest.fixture(scope="module")
async def both(server: Server) -> AsyncIterator[Two]:
    with fresh_database(server) as database:
        wait_for_counts(database)
        async with open_site(database) as site, site.client() as client, site.working():
            made = [await make_active(client, new_tenant()) for _ in range(2)]
            ids = [UUID(one["tenant_id"]) for one in made]
            rows = [(await client.get(f"{TENANTS}/{each}")).json() for each in ids]
        acme, globex = (row["subdomain"] for row in rows)
        yield Two(database, acme, globex, {acme: ids[0], globex: ids[1]})


@pytest.fixture
def two(both: Two) -> Two:
    both.forget()
    return both


@contextlib.asynccontextmanager
async def replica(two: Two, *, wired: bool = False, **limits: object) -> AsyncIterator[Replica]:
    """With these settings, by the names of their fields. Unless `wired`, with a patience for a busy
    machine, which must not make a test count by memory."""
    given = {f"CONTROLPLANE_{name.upper()}": str(value) for name, value in limits.items()}
    settings = settings_of(two.database, CONTROLPLANE_TENANT_TOKEN_KEY=KEY, **given)
    async with wiring.open_parts(settings) as parts, shared_counts(settings) as shared:
        if not wired:
            parts = replace(parts, counts=ShelteredRateLimits(shared, patience_s=PATIENCE_S))  # noqa: PLW2901  the same, but for that
        yield Replica(create_app(parts), parts)


@contextlib.asynccontextmanager
async def shared_counts(settings: Settings) -> AsyncIterator[RateLimits]:
    if settings.redis_url is None:
        async with pool_of(settings.database_url.get_secret_value()) as pool:
            yield PostgresRateLimits(pool)
    else:
        async with redis_peer(settings.redis_url.get_secret_value()) as peer:
            yield peer.counts


def limited(*answers: httpx.Response) -> list[int]:
    return [answer.status_code for answer in answers]


def left(answer: httpx.Response) -> dict[str, int]:
    """What is left, by scope."""
    return {whose: int(r) for whose, r, _ in _STANDING.findall(answer.headers["ratelimit"])}


async def test_of_many_requests_at_two_replicas_exactly_the_limits_number_is_admitted(
    two: Two,
) -> None:
    async with (
        replica(two, rate_limit_tenant=10) as one,
        replica(two, rate_limit_tenant=10) as other,
    ):
        answers = await asyncio.gather(
            *(each.ask(two.acme, peer=f"192.0.2.{n}") for n in range(15) for each in (one, other))
        )
        assert Counter(limited(*answers)) == {200: 10, 429: 20}
        assert (await other.ask(two.globex)).status_code == 200


async def test_every_answer_on_a_tenants_host_tells_what_is_left(two: Two) -> None:
    async with replica(two, rate_limit_tenant=6, rate_limit_address=50) as one:
        answers = [
            await one.ask(two.acme),
            await one.ask(two.acme, method="HEAD"),
            await one.ask(two.acme, "/api/tenant/nothing"),
            await one.ask(two.acme, method="DELETE"),
            await one.ask(two.acme, method="OPTIONS"),
            await one.ask(two.acme, headers={"authorization": "Bearer nonsense"}),
        ]
        over = await one.ask(two.acme)
        nobody = await one.ask("nobody")
    for answer, rest in zip([*answers, over], [5, 4, 3, 2, 1, 0, 0], strict=True):
        policies = _POLICY.findall(answer.headers["ratelimit-policy"])
        assert dict(policies) == {"tenant": "6", "address": "50"}
        assert left(answer)["tenant"] == rest
    assert left(answers[-1]) == {"tenant": 0, "address": 44}
    assert over.status_code == 429
    assert over.headers["content-type"] == "application/problem+json"
    assert over.json()["code"] == over.headers["x-error-code"] == "rate_limited"
    assert over.json()["request_id"] == over.headers["x-request-id"]
    assert 1 <= int(over.headers["retry-after"]) <= 61
    assert "ratelimit" not in nobody.headers


async def test_who_speaks_has_a_share_of_his_own(two: Two) -> None:
    async with replica(two, rate_limit_tenant=50, rate_limit_principal=2) as one:
        ada, bob = (one.speaks(two.ids[two.acme]) for _ in range(2))
        of_ada = [await one.ask(two.acme, headers=ada, peer=f"192.0.2.{n}") for n in range(4)]
        of_bob = await one.ask(two.acme, headers=bob)
        told = await one.metrics()
    assert limited(*of_ada) == [200, 200, 429, 429]
    assert of_bob.status_code == 200
    # What was refused to Ada was not taken from her tenant.
    assert left(of_bob) == {"tenant": 47, "principal": 1}
    assert 'controlplane_rate_limited_total{scope="principal"} 2.0' in told
    assert 'controlplane_rate_limited_total{scope="tenant"} 0.0' in told
    assert "controlplane_rate_limit_local_total 0.0" in told
    assert two.acme not in told
    assert str(two.ids[two.acme]) not in told


async def test_a_forged_address_evades_nothing_and_locks_nobody_out(two: Two) -> None:
    """Neither where nobody is trusted, nor through a proxy, which adds whom it saw."""
    async with (
        replica(two, rate_limit_address=2) as bare,
        replica(two, rate_limit_address=2, trusted_proxies="10.0.0.0/8") as behind,
    ):
        forged = [{"x-forwarded-for": f"198.51.100.{n}"} for n in range(4)]
        direct = [await bare.ask(two.acme, headers=each, peer="192.0.2.66") for each in forged]
        victim = await bare.ask(two.acme, peer="198.51.100.0")
        two.forget()
        through = [
            await behind.ask(two.acme, peer="10.0.0.7", headers={"x-forwarded-for": hops})
            for hops in (f"198.51.100.{n}, 192.0.2.66" for n in range(4))
        ]
        known = await behind.ask(
            two.acme, peer="10.0.0.7", headers={"x-forwarded-for": "198.51.100.0"}
        )
        bad = {"authorization": "Bearer nonsense", "x-forwarded-for": "192.0.2.66"}
        with_bad_token = await behind.ask(two.acme, peer="10.0.0.7", headers=bad)
    assert limited(*direct) == limited(*through) == [200, 200, 429, 429]
    assert limited(victim, known) == [200, 200]
    assert with_bad_token.status_code == 429


async def test_a_tier_has_its_limit(two: Two) -> None:
    async with replica(two, wired=True, rate_limit_tenant=1, rate_limit_tiers="starter=3") as one:
        answers = [await one.ask(two.acme) for _ in range(4)]
    assert limited(*answers) == [200, 200, 200, 429]


async def test_without_a_limit_nothing_is_counted_or_told(two: Two) -> None:
    async with replica(two) as one:
        answer = await one.ask(two.acme)
    assert "ratelimit" not in answer.headers
    with psycopg.connect(two.database.superuser_url) as conn:
        assert conn.execute("SELECT FROM public.rate_counts").fetchall() == []


async def test_replicas_that_share_a_redis_count_there(two: Two, redis: RedisServer) -> None:
    async with (
        replica(two, rate_limit_tenant=3, redis_url=redis.url) as one,
        replica(two, rate_limit_tenant=3, redis_url=redis.url) as other,
    ):
        answers = [await each.ask(two.acme) for each in (one, other, one, other)]
    assert limited(*answers) == [200, 200, 200, 429]
    with psycopg.connect(two.database.superuser_url) as conn:
        assert conn.execute("SELECT FROM public.rate_counts").fetchall() == []


async def test_losing_redis_under_load_fails_no_request_and_limits_go_on(
    two: Two, redis: RedisServer
) -> None:
    async with replica(two, wired=True, rate_limit_tenant=6, redis_url=redis.url) as one:
        first = [await one.ask(two.acme) for _ in range(2)]
        asked = [asyncio.create_task(one.ask(two.acme)) for _ in range(10)]
        await asyncio.sleep(0)
        redis.stop()
        try:
            seen = Counter(limited(*first, *await asyncio.gather(*asked)))
            last = await one.ask(two.acme)
        finally:
            redis.start()
        assert set(seen) == {200, 429}
        assert 6 <= seen[200] <= 12
        assert last.status_code == 429
        assert await alone(one) > 0
        while await counts_alone(one, two.globex):
            pass


async def alone(one: Replica) -> int:
    """How many requests it has counted by itself."""
    found = re.search(r"controlplane_rate_limit_local_total (\d+)", await one.metrics())
    assert found is not None
    return int(found[1])


async def counts_alone(one: Replica, subdomain: str) -> bool:
    before = await alone(one)
    assert (await one.ask(subdomain)).status_code in {200, 429}
    return await alone(one) > before
