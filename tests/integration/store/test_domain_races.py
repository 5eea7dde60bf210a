"""Two tenants that prove one host at once, and two workers that look at what is due."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy import NullPool, select
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from controlplane.domain.own_domains import DomainState
from controlplane.domain.own_hosts import Host
from controlplane.store import domains
from controlplane.store.domain_tables import tenant_domains as table
from controlplane.store.domains import Due
from controlplane.store.urls import sqlalchemy_url
from tests.database import Database, Server, fresh_database
from tests.integration.store.test_domains import active, add, claim, verdict

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


@pytest.fixture(scope="module")
def own_database(server: Server) -> Iterator[Database]:
    with fresh_database(server) as made:
        yield made


@pytest.fixture
async def owner(own_database: Database) -> AsyncIterator[AsyncEngine]:
    """The worker's login, to commit in."""
    engine = create_async_engine(sqlalchemy_url(own_database.owner_url), poolclass=NullPool)
    async with engine.begin() as conn:
        await conn.execute(table.delete())
    yield engine
    await engine.dispose()


async def test_of_two_tenants_that_prove_one_host_at_once_one_has_it(owner: AsyncEngine) -> None:
    async with owner.begin() as conn:
        for subdomain in ("acme", "globex"):
            await add(conn, (await active(conn, subdomain)).id)
    async with owner.begin() as conn:
        both = await claim(conn)
    assert len(both) == 2

    async def settle(due: Due) -> bool:
        async with owner.begin() as conn:
            return await domains.settle(conn, due, verdict(due, DomainState.VERIFIED))

    outcomes = await asyncio.gather(*map(settle, both), return_exceptions=True)
    assert sorted(str(type(each).__name__) for each in outcomes) == ["DomainTaken", "bool"]
    async with owner.connect() as conn:
        states = (await conn.execute(select(table.c.state))).scalars().all()
    assert sorted(states) == ["pending", "verified"]


async def test_two_workers_never_claim_the_same(owner: AsyncEngine) -> None:
    async with owner.begin() as conn:
        tenant = await active(conn, "initech")
        for number in range(6):
            await add(conn, tenant.id, Host(f"w{number}.example"), at_most=10)
    async with owner.begin() as first, owner.begin() as second:
        mine, theirs = await claim(first, 4), await claim(second, 4)
    hosts = [due.domain.host for due in (*mine, *theirs) if due.subdomain == "initech"]
    assert sorted(hosts) == [f"w{number}.example" for number in range(6)]
