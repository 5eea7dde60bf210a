"""The loop that looks at tenants' own domains, over a real database and names in memory."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import NullPool, text, update
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from controlplane.domain.dns_look import Way, challenge_name
from controlplane.domain.own_domains import DomainState
from controlplane.domain.own_hosts import Host
from controlplane.domain.tenants import TenantState
from controlplane.provisioning import own_domains
from controlplane.provisioning.domain_watch import DomainWatch
from controlplane.store import domains, tenants
from controlplane.store.domain_tables import tenant_domains as table
from controlplane.store.domains import Domain
from controlplane.store.urls import sqlalchemy_url
from controlplane_dns.memory_lookup import MemoryLookup
from tests.database import Database, Server, fresh_database
from tests.integration.store.conftest import ADMIN, Accepted, accept

pytestmark = pytest.mark.anyio

WWW = Host("www.acme.example")


@dataclass
class Stuck(MemoryLookup):
    """Never answers about some names, and breaks about others."""

    stuck: set[str] = field(default_factory=set)
    breaks: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    async def texts(self, name: str) -> frozenset[str]:
        if name in self.breaks:
            raise AssertionError(name)
        if name in self.stuck:
            await asyncio.Event().wait()
        return await super().texts(name)

    async def way(self, name: str) -> Way:
        return await super().way(name)


@dataclass
class Place:
    engine: AsyncEngine
    names: Stuck
    acme: Accepted
    globex: Accepted

    def watch(self, **more: Any) -> DomainWatch:
        wanted = {"dns_target": "lb.provider.test", "every_s": 0.05, **more}
        return DomainWatch(self.engine, self.names, "apps.test", **wanted)

    async def add(self, tenant: Accepted, host: Host = WWW) -> Domain:
        async with self.engine.begin() as conn:
            added, _ = await own_domains.add(
                conn, tenant.id, host=host, redirects=False, at_most=50, actor=ADMIN
            )
        return added

    def prove(self, domain: Domain) -> None:
        name = (challenge_name(domain.host), "TXT")
        self.names.records.setdefault(name, []).append(domain.challenge)

    async def due(self) -> None:
        """Time goes by until everything is due again."""
        async with self.engine.begin() as conn:
            await conn.execute(update(table).values(check_at=text("now() - interval '1 s'")))

    async def state(self, domain: Domain) -> Domain:
        async with self.engine.connect() as conn:
            return await domains.get(conn, domain.tenant_id, domain.host)


@pytest.fixture(scope="module")
def database(server: Server) -> Iterator[Database]:
    with fresh_database(server) as made:
        yield made


@pytest.fixture
async def place(database: Database) -> AsyncIterator[Place]:
    engine = create_async_engine(sqlalchemy_url(database.owner_url), poolclass=NullPool)
    async with engine.begin() as conn:
        await conn.execute(text("TRUNCATE public.tenants CASCADE"))
        both = [await accept(conn, subdomain) for subdomain in ("acme", "globex")]
        for each in both:
            await tenants.set_state(conn, each.id, TenantState.ACTIVE)
    yield Place(engine, Stuck(), *both)
    await engine.dispose()


async def test_the_first_whose_proof_is_seen_has_the_host_and_the_other_is_told(
    place: Place,
) -> None:
    mine, theirs = await place.add(place.acme), await place.add(place.globex)
    place.prove(theirs)
    assert await place.watch().sweep() >= 2
    assert (await place.state(theirs)).state is DomainState.VERIFIED
    place.prove(mine)
    await place.due()
    await place.watch().sweep()
    second = await place.state(mine)
    assert (second.state, second.last_error) == (
        DomainState.PENDING,
        {"code": "domain_taken", "detail": "Another tenant has proven this domain first."},
    )
    assert second.check_at is not None
    # Once the first lets go, the second has it by itself.
    async with place.engine.begin() as conn:
        await own_domains.remove(conn, place.globex.id, WWW, actor=ADMIN)
    await place.due()
    await place.watch().sweep()
    assert (await place.state(mine)).state is DomainState.VERIFIED


async def test_both_at_once_and_one_of_them_has_it(place: Place) -> None:
    both = [await place.add(place.acme), await place.add(place.globex)]
    for each in both:
        place.prove(each)
    watches = [place.watch(slots=1) for _ in range(2)]
    counted = await asyncio.gather(*(watch.sweep() for watch in watches))
    assert sum(counted) >= 2
    found = [await place.state(each) for each in both]
    assert sorted(each.state for each in found) == ["pending", "verified"]
    (loser,) = (each for each in found if each.state is DomainState.PENDING)
    assert (loser.last_error or {})["code"] == "domain_taken"


@pytest.mark.parametrize(
    ("target", "records", "points_here"),
    [
        ("lb.provider.test", {("www.acme.example", "CNAME"): ["acme.apps.test."]}, True),
        (
            "lb.provider.test",
            {("www.acme.example", "A"): ["192.0.2.7"], ("lb.provider.test", "A"): ["192.0.2.7"]},
            True,
        ),
        ("2001:DB8::7", {("www.acme.example", "AAAA"): ["2001:db8::7"]}, True),
        ("192.0.2.7", {("www.acme.example", "A"): ["192.0.2.8"]}, False),
    ],
)
async def test_where_it_leads_is_seen_through_the_ingress_name_or_address(
    place: Place, target: str, records: Any, points_here: Any
) -> None:
    domain = await place.add(place.acme)
    place.names.records |= records
    await place.watch(dns_target=target).sweep()
    assert (await place.state(domain)).points_here is points_here


async def test_an_ingress_that_nobody_finds_is_no_obstacle(place: Place) -> None:
    domain = await place.add(place.acme)
    place.prove(domain)
    place.names.silent |= {"lb.provider.test"}
    await place.watch().sweep()
    assert (await place.state(domain)).state is DomainState.VERIFIED


async def test_silence_takes_nothing_away(place: Place) -> None:
    domain = await place.add(place.acme)
    place.prove(domain)
    await place.watch().sweep()
    place.names.silent |= {challenge_name(WWW), WWW}
    async with place.engine.begin() as conn:
        ago = text("now() - interval '90 h'")
        await conn.execute(update(table).values(failing_since=ago))
    await place.due()
    await place.watch().sweep()
    found = await place.state(domain)
    assert (found.state, (found.last_error or {})["code"]) == ("verified", "dns_unavailable")


async def test_a_look_without_an_end_is_no_answer(place: Place) -> None:
    """Whatever the lookup has been told to wait: else it would be made again and again."""
    domain = await place.add(place.acme)
    place.names.stuck.add(challenge_name(WWW))
    await place.watch(patience_s=0.01).sweep()
    found = await place.state(domain)
    assert (found.state, (found.last_error or {}).get("code")) == ("pending", "dns_unavailable")
    assert found.checked_at is not None


async def test_one_that_breaks_or_hangs_holds_up_no_other_and_the_loop_ends(place: Place) -> None:
    broken, stuck = Host("broken.example"), Host("stuck.example")
    place.names.breaks.add(challenge_name(broken))
    place.names.stuck.add(challenge_name(stuck))
    odd = [await place.add(place.acme, host) for host in (broken, stuck)]
    watch, stopping = place.watch(slots=3, patience_s=600), asyncio.Event()
    running = asyncio.create_task(watch.run(stopping))
    try:
        for number in range(4):
            domain = await place.add(place.acme, Host(f"w{number}.example"))
            place.prove(domain)
            watch.wake.set()
            async with asyncio.timeout(60):
                while (await place.state(domain)).state is not DomainState.VERIFIED:
                    pass
    finally:
        stopping.set()
        await running
    for each in odd:
        found = await place.state(each)
        assert (found.state, found.checked_at) == (DomainState.PENDING, None)
        # It comes due again when the lease is over.
        assert found.check_at is not None


async def test_a_tenant_that_was_renamed_is_looked_for_by_its_new_name(place: Place) -> None:
    domain = await place.add(place.acme)
    place.prove(domain)
    place.names.records[WWW, "CNAME"] = ["acme.apps.test"]
    await place.watch().sweep()
    assert (await place.state(domain)).points_here is True
    async with place.engine.begin() as conn:
        await conn.execute(
            text("UPDATE public.tenants SET subdomain = 'acme-labs' WHERE id = :id"),
            {"id": place.acme.id},
        )
    await place.due()
    await place.watch().sweep()
    found = await place.state(domain)
    # Served on: the proof is there. But its old name may become another tenant's.
    assert (found.state, found.points_here) == (DomainState.VERIFIED, False)
    assert (found.last_error or {})["code"] == "points_elsewhere"
