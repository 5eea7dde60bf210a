"""A tenant's own domain is found as its subdomain is: remembered, shared, told of, never stale."""

import asyncio
from dataclasses import replace
from functools import partial

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from controlplane.errors import TenantUnavailable
from controlplane.routing import Ages, SyncTenantDirectory, TenantDirectory, listening
from controlplane.routing.cache import MemoryCache
from controlplane.routing.registry import Registry, SyncRegistry
from controlplane.testing.ground import Installation, neighbours
from tests.database import fresh_database
from tests.integration.routing.lent import CountedPool
from tests.integration.routing.own_domains import add_domain, run, set_domain

pytestmark = pytest.mark.anyio

EAGER, LAZY = Ages(fresh_s=0), Ages(fresh_s=3600)
_PATIENCE_S = 60


@pytest.fixture(scope="module")
def place(server):
    with fresh_database(server) as made:
        login = str(conninfo_to_dict(made.app_url)["user"])
        yield Installation(made.superuser_url, made.owner_url, made.app_url, login)


@pytest.fixture(scope="module")
def both(place):
    with neighbours(place, "CREATE TABLE notes (id int PRIMARY KEY)") as made:
        yield made
        run(place.superuser_url, "DELETE FROM public.tenant_domains")


@pytest.fixture
def acme(both):
    """Has two domains that are verified, the second leading to the first, and two that are not."""
    url, (acme, globex) = both.superuser_url, both.tenants
    run(url, "DELETE FROM public.tenant_domains")
    add_domain(url, acme.id, "portal.acme.test", primary=True)
    add_domain(url, acme.id, "old.acme.test", redirects=True)
    add_domain(url, acme.id, "new.acme.test", "pending")
    add_domain(url, acme.id, "gone.acme.test", "lost")
    add_domain(url, globex.id, "new.acme.test", "pending")
    return acme


@pytest.fixture
async def ours(both):
    async with AsyncConnectionPool(both.app_url, min_size=1, max_size=1, open=False) as opened:
        yield opened


class Replicas(list[TenantDirectory]):
    """Two that ask for changes before each answer, and share what they learn."""

    url = ""

    def change(self, statement):
        run(self.url, statement)


@pytest.fixture
def replicas(acme, both, ours):  # noqa: ARG001  its domains are there
    shared = MemoryCache()
    made = Replicas(TenantDirectory(ours, ages=EAGER, shared=shared) for _ in range(2))
    made.url = both.superuser_url
    return made


async def _until(holds):
    async with asyncio.timeout(_PATIENCE_S):
        while not await holds():  # noqa: ASYNC110  the condition is another process's
            await asyncio.sleep(0.01)


async def test_a_verified_domain_is_its_tenants_and_no_other_host_is_anybodys(acme, both, ours):
    moved = replace(acme, moved_to="portal.acme.test")
    wanted = {
        "portal.acme.test": acme,
        "old.acme.test": moved,
        **dict.fromkeys(["new.acme.test", "gone.acme.test", "acme.test", "x.portal.acme.test"]),
        "PORTAL.acme.test": None,
        "acme": acme,
    }
    found = {name: await Registry(ours).lookup(name) for name in wanted}
    with ConnectionPool(both.app_url, min_size=1, max_size=1) as threads:
        in_threads = {name: SyncRegistry(threads).lookup(name) for name in wanted}
        directory = SyncTenantDirectory(threads)
        assert {name: directory.lookup(name) for name in wanted} == wanted
    assert found == in_threads == wanted
    run(both.superuser_url, "UPDATE public.tenant_domains SET is_primary = false")
    assert await Registry(ours).lookup("old.acme.test") == acme


async def test_before_the_control_plane_has_domains_nobody_has_one(world, pool):
    """App servers may be newer than it is."""
    assert await Registry(pool).lookup("portal.acme.test") is None
    with ConnectionPool(world.app, min_size=1, max_size=1) as threads:
        assert SyncRegistry(threads).lookup("portal.acme.test") is None
    world.do("CREATE VIEW public.tenant_hosts AS SELECT 1 AS host")
    with pytest.raises(TenantUnavailable):
        await Registry(pool).lookup("portal.acme.test")


async def test_many_who_ask_for_an_unknown_host_are_one_query_and_it_is_remembered(acme, ours):
    counted = CountedPool(ours)
    directory = TenantDirectory(counted, ages=LAZY)
    await directory.lookup("acme")
    counted.lent = 0
    asked = [directory.lookup("nobody.test") for _ in range(20)]
    assert set(await asyncio.gather(*asked)) == {None}
    assert await directory.lookup("portal.acme.test") == acme
    assert await directory.lookup("portal.acme.test") == acme
    assert counted.lent == 2


async def test_hosts_that_nobody_has_crowd_out_no_tenants(acme, ours):
    counted = CountedPool(ours)
    directory = TenantDirectory(counted, ages=LAZY, size=3)
    for name in ("acme", "portal.acme.test", *(f"x{number}.test" for number in range(9))):
        await directory.lookup(name)
    counted.lent = 0
    assert await directory.lookup("portal.acme.test") == acme
    assert counted.lent == 0


@pytest.mark.parametrize(
    ("name", "change", "then"),
    [
        (
            "portal.acme.test",
            "UPDATE public.tenant_domains SET state = 'lost' WHERE is_primary",
            None,
        ),
        ("portal.acme.test", "DELETE FROM public.tenant_domains WHERE is_primary", None),
        (
            "old.acme.test",
            "UPDATE public.tenant_domains SET state = 'lost' WHERE is_primary",
            "acme",
        ),
        ("old.acme.test", "UPDATE public.tenant_domains SET redirects = false", "acme"),
        (
            "old.acme.test",
            "UPDATE public.tenants SET subdomain = 'acme2' WHERE name = 'Acme'",
            "acme2",
        ),
    ],
)
async def test_what_changes_about_a_domain_is_known_to_whoever_asks_for_changes(
    replicas, name, change, then
):
    before = [await directory.lookup(name) for directory in (*replicas, replicas[1])]
    assert {found.subdomain for found in before} == {"acme"}
    replicas.change(change)
    try:
        after = [await directory.lookup(name) for directory in reversed(replicas)]
        assert [found and found.subdomain for found in after] == [then] * 2
        moved_to = {found.moved_to for found in after if found}
        assert moved_to <= {"portal.acme.test" if then == "acme2" else None}
    finally:
        replicas.change("UPDATE public.tenants SET subdomain = 'acme' WHERE name = 'Acme'")


async def test_what_one_process_was_told_of_a_domain_another_reads(acme, both, ours):
    # While a test elsewhere has an older transaction open, nobody could tell that it stands.
    run(both.superuser_url, "DELETE FROM public.tenant_changes")
    shared, counted = MemoryCache(), CountedPool(ours)
    first = TenantDirectory(ours, ages=LAZY, shared=shared)
    second = TenantDirectory(counted, ages=LAZY, shared=shared)
    names = ("old.acme.test", "nobody.test", "acme")
    for directory in (first, second):
        # The first answer is not shared: changes were not asked for before it.
        await directory.lookup("globex")
    told = [await first.lookup(name) for name in names]
    counted.lent = 0
    assert [await second.lookup(name) for name in names] == told
    assert told == [replace(acme, moved_to="portal.acme.test"), None, acme]
    # What has changed since, and no tenant.
    assert counted.lent <= 1


async def test_a_verification_and_a_loss_are_heard_at_once(acme, both, ours):
    """The directory asks for no changes, so only the notification can tell it."""
    directory = TenantDirectory(ours, ages=LAZY)

    async def until(host, tenant):
        async def known():
            return await directory.lookup(host) == tenant

        await _until(known)

    async with listening(both.app_url, directory):
        await _until(partial(_listens, both.superuser_url))
        await until("portal.acme.test", acme)
        run(both.superuser_url, "DELETE FROM public.tenant_domains WHERE host = 'portal.acme.test'")
        await until("portal.acme.test", None)
        add_domain(both.superuser_url, acme.id, "portal.acme.test")
        await until("portal.acme.test", acme)
        set_domain(both.superuser_url, "portal.acme.test", "lost")
        await until("portal.acme.test", None)


async def _listens(superuser_url):
    async with await psycopg.AsyncConnection.connect(superuser_url) as conn:
        found = await conn.execute(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
            " AND query = 'LISTEN controlplane_tenants' AND state = 'idle'"
        )
        return await found.fetchone()
