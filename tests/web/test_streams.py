"""Streams of events: hints wake them, the journal feeds them, nothing holds them for ever."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import psycopg
import pytest

from controlplane.store import operations
from controlplane.web.hub import Hub
from controlplane.web.watch import stream
from tests.web.calls import TENANTS, Site, new_tenant

pytestmark = pytest.mark.anyio

LISTENERS = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%%' AND datname = %s"


@pytest.fixture
async def hub(site: Site) -> AsyncIterator[Hub]:
    opened = Hub(site.database.owner_url)
    yield opened
    await opened.close()


async def accepted(site: Site) -> UUID:
    async with site.client() as client:
        return UUID((await client.post(TENANTS, json=new_tenant())).json()["id"])


def listeners(site: Site) -> list[int]:
    with psycopg.connect(site.database.superuser_url) as conn:
        return [pid for (pid,) in conn.execute(LISTENERS, [site.database.name])]


async def until_listening(site: Site, count: int) -> list[int]:
    async with asyncio.timeout(60):
        while len(found := listeners(site)) != count:  # noqa: ASYNC110  PostgreSQL tells nobody
            await asyncio.sleep(0.02)
    return found


async def tell(site: Site, operation_id: UUID, kind: str) -> None:
    async with site.parts.owner.begin() as conn:
        await operations.add_event(conn, operation_id, kind, {})


async def test_watchers_share_one_listener_that_goes_with_the_last(site: Site, hub: Hub) -> None:
    first, second = await accepted(site), await accepted(site)
    with hub.watching(first) as one, hub.watching(first) as two, hub.watching(second) as other:
        async with asyncio.timeout(60):
            # All are woken once, when listening begins.
            await asyncio.gather(one.wait(), two.wait(), other.wait())
        assert len(listeners(site)) == 1
        for event in (one, two, other):
            event.clear()
        await tell(site, first, "noted")
        async with asyncio.timeout(60):
            await asyncio.gather(one.wait(), two.wait())
        assert not other.is_set()
    await until_listening(site, 0)


async def test_a_listener_that_lost_its_connection_comes_back(site: Site, hub: Hub) -> None:
    operation_id = await accepted(site)
    with hub.watching(operation_id) as news:
        async with asyncio.timeout(60):
            await news.wait()
        (pid,) = listeners(site)
        news.clear()
        with psycopg.connect(site.database.superuser_url) as conn:
            conn.execute("SELECT pg_terminate_backend(%s)", [pid])
        async with asyncio.timeout(60):
            # Whatever was told meanwhile was missed, so everybody is woken.
            await news.wait()
        assert await until_listening(site, 1) != [pid]


async def test_a_quiet_stream_says_that_it_is_alive(site: Site, hub: Hub) -> None:
    events = stream(site.parts, hub, await accepted(site), after=1, heartbeat_s=0.01)
    async with asyncio.timeout(60):
        frames = [await anext(events) for _ in range(3)]
    assert frames[0].startswith(b"retry: ")
    assert frames[1:] == [b": still here\n\n"] * 2
    await events.aclose()


async def test_a_stream_ends_when_the_hub_closes(site: Site, hub: Hub) -> None:
    events = stream(site.parts, hub, await accepted(site), after=1)
    await anext(events)
    waiting = asyncio.create_task(anext(events, None))
    await until_listening(site, 1)
    await hub.close()
    async with asyncio.timeout(60):
        assert await waiting is None


async def test_a_long_history_is_streamed_whole(site: Site, hub: Hub) -> None:
    operation_id = await accepted(site)
    with psycopg.connect(site.database.owner_url) as conn:
        conn.execute(
            "INSERT INTO public.operation_events (operation_id, seq, epoch, type)"
            " SELECT %s, n, 0, 'noted' FROM generate_series(2, 1234) n",
            [operation_id],
        )
    events, seen = stream(site.parts, hub, operation_id, after=0), 0
    async with asyncio.timeout(60):
        while seen < 1234:
            frame = await anext(events)
            seen += frame.startswith(f"id: {seen + 1}\n".encode())
    await events.aclose()
