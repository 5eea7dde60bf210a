"""Many workers, one operation; and what they are told of it twice, wrongly or not at all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from controlplane import worker
from controlplane.store import deliveries
from controlplane.store.operations import OPERATIONS_CHANNEL
from tests.database import Database
from tests.engine.lab import Lab, open_lab, settings
from tests.engine.test_lease import until
from tests.engine.world import assert_world, fingerprint
from tests.web.calls import TENANTS, new_tenant, open_site

pytestmark = [pytest.mark.anyio]

# Whoever finds work within the half minute that a test waits was told of it.
DEAF = {"CONTROLPLANE_WORKER_POLL_S": "45"}


@pytest.fixture
async def seldom(database: Database, tmp_path: Path) -> AsyncIterator[Lab]:
    """A lab whose workers hardly ever poll; with the bystander 'globex'."""
    async with open_lab(database, tmp_path, more=DEAF) as lab:
        bystander = await lab.active("globex")
        before = await fingerprint(lab, bystander)
        yield lab
        await assert_world(lab)
        assert await fingerprint(lab, bystander) == before


@asynccontextmanager
async def working(lab: Lab) -> AsyncIterator[asyncio.Task[None]]:
    """A whole worker, which listens."""
    stopping = asyncio.Event()
    running = asyncio.create_task(worker.run_worker(lab.parts, stopping))
    try:
        await listener(lab)
        yield running
        assert not running.done()
    finally:
        stopping.set()
        await asyncio.wait_for(running, 60)


async def listener(lab: Lab, *, other_than: int = 0) -> int:
    """Wait for the worker's LISTEN to stand; its process id."""
    query = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> %s"
        " AND query LIKE 'LISTEN%%' AND state = 'idle'"
    )
    async with asyncio.timeout(60):
        while True:
            async with await superuser(lab) as conn:
                row = await (await conn.execute(query, [other_than])).fetchone()
            if row is not None:
                return int(row[0])
            await asyncio.sleep(0.05)


async def superuser(lab: Lab) -> psycopg.AsyncConnection:
    url = lab.database.superuser_url
    return await psycopg.AsyncConnection.connect(url, autocommit=True)


async def notify(lab: Lab, *notices: tuple[str, str]) -> None:
    async with await superuser(lab) as conn:
        for channel, payload in notices:
            await conn.execute("SELECT pg_notify(%s, %s)", [channel, payload])


async def ended(lab, operation):
    await until(lab, "finished_at IS NOT NULL", operation.id)
    assert (await lab.view(operation.id)).state == "succeeded"


async def events_of(lab, operation):
    return await lab.sql(
        "SELECT step, type, epoch FROM public.operation_events WHERE operation_id = :id"
        " ORDER BY seq",
        id=operation.id,
    )


async def test_of_eight_workers_one_drives_the_operation_and_the_others_see_nothing(lab):
    stopping = asyncio.Event()
    engines = [lab.engine() for _ in range(8)]
    running = [asyncio.create_task(engine.run(stopping)) for engine in engines]
    operation = await lab.create("acme")
    for _ in range(5):
        for engine in engines:
            engine.wake.set()
        await asyncio.sleep(0)
    await ended(lab, operation)
    stopping.set()
    await asyncio.wait_for(asyncio.gather(*running), 60)

    events = await events_of(lab, operation)
    assert {event.epoch for event in events} <= {0, 1}
    done = [event.step for event in events if event.type == "step_done"]
    assert done == ["schema", "admin", "dns", "verify", "activate"]
    assert lab.visited.count("step:schema:before-begin") == 1


async def test_a_worker_that_is_told_many_times_drives_once(seldom):
    async with working(seldom):
        operation = await seldom.create("acme")
        await notify(seldom, *[(OPERATIONS_CHANNEL, str(operation.id))] * 50)
        await ended(seldom, operation)
        await notify(seldom, *[(OPERATIONS_CHANNEL, str(operation.id))] * 50)
        other = await seldom.create("other")
        await ended(seldom, other)

    assert {event.epoch for event in await events_of(seldom, operation)} <= {0, 1}


NONSENSE = ["", "garbage", "{}", "'; DROP TABLE tenants; --", "☃" * 2000, str(uuid4()), "\x01\n"]


async def test_a_worker_shrugs_off_what_it_is_told_in_error(seldom):
    async with working(seldom):
        for channel in (OPERATIONS_CHANNEL, deliveries.CHANNEL):
            await notify(seldom, *((channel, payload) for payload in NONSENSE))
        operation = await seldom.create("acme")
        await ended(seldom, operation)


async def test_what_was_missed_while_nobody_listened_is_found_at_the_next_listen(seldom):
    async with working(seldom):
        first = await listener(seldom)
        async with await superuser(seldom) as conn:
            await conn.execute("SELECT pg_terminate_backend(%s, 10000)", [first])
        operation = await seldom.create("acme")
        await ended(seldom, operation)
        assert await listener(seldom, other_than=first) != first


async def test_polling_finds_what_nobody_was_told_of(lab):
    """Another one's NOTIFY was lost: this engine hears of none."""
    stopping = asyncio.Event()
    running = asyncio.create_task(lab.engine().run(stopping))
    operation = await lab.create("acme")
    await ended(lab, operation)
    stopping.set()
    await asyncio.wait_for(running, 60)


def test_a_worker_that_polls_seldom_is_not_taken_for_a_stalled_one(database, tmp_path):
    for poll_s in ("1", "45", "600"):
        more = {"CONTROLPLANE_WORKER_POLL_S": poll_s}
        times = worker.timing(settings(database, tmp_path, **more))
        assert times.stall_s >= times.poll_s + 60


async def test_fifty_requests_at_once_with_one_key_are_one_tenant(database):
    """While a worker makes it; told to come back, the others get the same operation later."""
    async with open_site(database) as site, site.working(), site.client() as client:
        before, body = await site.counts(), new_tenant()
        headers = {"idempotency-key": "the-same"}
        calls = (client.post(TENANTS, json=body, headers=headers) for _ in range(50))
        answers = await asyncio.gather(*calls)
        codes = {answer.status_code: answer.json().get("code") for answer in answers}
        assert 202 in codes
        assert codes.get(409, "idempotency_in_flight") == "idempotency_in_flight"
        assert set(codes) <= {202, 409}

        later = [await client.post(TENANTS, json=body, headers=headers) for _ in range(3)]
        accepted = [answer for answer in [*answers, *later] if answer.status_code == 202]
        assert {answer.status_code for answer in later} == {202}
        assert len({answer.json()["id"] for answer in accepted}) == 1
        after = await site.counts()
    made = {name: after[name] - before[name] for name in before}
    assert (made["tenants"], made["operations"], made["idempotency_keys"]) == (1, 1, 1)
