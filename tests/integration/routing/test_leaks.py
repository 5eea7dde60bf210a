"""No tenant ever sees another's rows, and no connection is lent with anything left in it."""

import asyncio
import contextlib

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from controlplane.testing import Fault, assert_no_leak
from controlplane.testing.ground import Installation, neighbours
from tests.integration.routing.notes_app import ASKS, NOTES, create_app

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(1800)]

NAMES = [f"tenant-{number}" for number in range(50)]
# Of a suspended tenant, and of one that has just got another name.
AWAY = frozenset({403, 404})


@pytest.fixture
def fifty(database):
    login = str(conninfo_to_dict(database.app_url)["user"])
    place = Installation(database.superuser_url, database.owner_url, database.app_url, login)
    with neighbours(place, NOTES, names=NAMES) as made:
        yield made


@pytest.fixture
def size(request, server):
    """Requests each way: what fits into every run, or what the option says."""
    return request.config.getoption("--leaks") // (1 if server.version == 18 else 4)


@pytest.mark.database_near
async def test_fifty_tenants_share_one_connection_and_nothing_else(fifty, size):
    summaries = await assert_no_leak(create_app, neighbours=fifty, asks=ASKS, requests=size)
    for summary in summaries:
        assert (summary.tenants, summary.requests) == (50, size)
        assert summary.answered > size / 3
        assert set(summary.faults) == set(Fault)


@contextlib.asynccontextmanager
async def _unrest(fifty):
    """Tenants are renamed, suspended and taken back, all the time."""
    running = asyncio.create_task(_stir(fifty))
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert running.cancelled()


async def _stir(fifty):
    changes = (
        "UPDATE public.tenants SET state = 'suspended' WHERE id = %s",
        "UPDATE public.tenants SET name = name || '!' WHERE id = %s",
        "UPDATE public.tenants SET state = 'active' WHERE id = %s",
        "UPDATE public.tenants SET subdomain = 'new-' || subdomain WHERE id = %s",
        "UPDATE public.tenants SET subdomain = substr(subdomain, 5) WHERE id = %s",
    )
    async with await psycopg.AsyncConnection.connect(fifty.superuser_url, autocommit=True) as conn:
        while True:
            for tenant in fifty.tenants:
                for change in changes:
                    await conn.execute(change, [tenant.id])
                    await asyncio.sleep(0.005)


async def test_a_directory_that_changes_under_load_sends_nobody_to_another_tenant(fifty, size):
    async with _unrest(fifty):
        summaries = await assert_no_leak(
            create_app, neighbours=fifty, asks=ASKS, requests=size // 4, refusals=AWAY
        )
    assert all(summary.answered > size / 40 for summary in summaries)
