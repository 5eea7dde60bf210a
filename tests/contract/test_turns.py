"""The queue before a provider, as all replicas share it (store/turns.py); who goes when is tried in
tests/unit/domain/test_turns.py."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from itertools import count

import psycopg
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from controlplane.errors import ProviderUnavailable
from controlplane.store import ratelimit
from controlplane.store.turns import PostgresTurns
from controlplane.store.urls import sqlalchemy_url
from tests.contract.ratelimit_peers import pool_of
from tests.database import Database, Server, fresh_database

pytestmark = pytest.mark.anyio
_names = count(1)
# Within which five may go: a second, and how much later one may arrive than another. Between two turns
# is a fifth of it, and a little leeway.
WINDOW_S, GAP_S = 1.2, 0.252


@dataclass
class Hall:
    """The queue before a provider, at a time of its own; two replicas ask in it."""

    now: float = 1_000_000.0
    turns: list[PostgresTurns] = field(default_factory=list)

    async def pause(self, seconds: float) -> None:
        self.now += seconds

    async def take(self, holder: str, requests: int = 1, *, replica: int = 0) -> float:
        return await self.turns[replica].take(holder, requests=requests)


@pytest.fixture(scope="module")
def queueing(server: Server) -> Iterator[Database]:
    with fresh_database(server) as made:
        yield made


@pytest.fixture
async def hall(queueing: Database) -> AsyncIterator[Hall]:
    """Five requests a second."""
    async with pool_of(queueing.control_url) as pool:
        made = Hall()
        name = f"provider-{next(_names)}"
        made.turns = [
            PostgresTurns(pool, name=name, per_s=5, clock=lambda: made.now, pause=made.pause)
            for _ in range(2)
        ]
        yield made


async def test_as_many_go_at_once_as_a_second_allows_and_the_rest_one_behind_the_other(
    hall: Hall,
) -> None:
    told = [await hall.take(f"tenant-{number}", replica=number % 2) for number in range(9)]
    assert told[:5] == [0] * 5
    assert told[5:] == pytest.approx([WINDOW_S + place * GAP_S for place in range(4)], abs=0.01)


async def test_a_place_is_kept_at_every_replica(hall: Hall) -> None:
    for number in range(9):
        await hall.take(f"tenant-{number}")
    wait_s = await hall.take("acme")
    hall.now += wait_s / 2
    assert await hall.take("acme", replica=1) == pytest.approx(wait_s / 2, abs=0.1)
    hall.now += wait_s / 2
    assert await hall.take("globex") > 0
    assert await hall.take("acme", replica=1) == 0


async def test_whose_turn_is_about_to_come_waits_for_it_on_the_spot(hall: Hall) -> None:
    told = [await hall.take(f"tenant-{number}") for number in range(6)]
    hall.now += told[5] - 0.2
    before = hall.now
    assert await hall.take("tenant-5") == 0
    assert hall.now - before == pytest.approx(0.2, abs=0.001)


async def test_who_asks_for_several_waits_for_all_of_them(hall: Hall) -> None:
    assert await hall.take("acme", 3) == 0
    first_s, second_s = await hall.take("globex", 3), await hall.take("initech", 3)
    assert second_s - first_s == pytest.approx(3 * GAP_S, abs=0.01)


async def test_a_turn_that_was_in_vain_comes_before_all_others(hall: Hall) -> None:
    for number in range(30):
        await hall.take(f"tenant-{number}")
    await hall.turns[1].put_first("tenant-0", requests=1)
    hall.now += 1
    assert await hall.take("tenant-0") == 0
    assert await hall.take("tenant-29") > 4


async def test_queues_of_different_names_do_not_meet(hall: Hall, queueing: Database) -> None:
    for number in range(20):
        await hall.take(f"tenant-{number}")
    async with pool_of(queueing.control_url) as pool:
        other = PostgresTurns(pool, name="other", per_s=5, clock=lambda: hall.now)
        assert await other.take("acme", requests=1) == 0


async def test_of_many_at_the_same_moment_as_many_go_as_may_and_each_other_has_his_own_time(
    hall: Hall,
) -> None:
    told = await asyncio.gather(
        *(hall.take(f"tenant-{number}", replica=number % 2) for number in range(16))
    )
    assert sorted(told)[:5] == [0] * 5
    waits = [round((wait_s - WINDOW_S) / GAP_S) for wait_s in sorted(told)[5:]]
    assert waits == list(range(11))


async def test_what_the_reaper_forgets_is_over(hall: Hall, queueing: Database) -> None:
    waits = [await hall.take(f"tenant-{number}") for number in range(9)]
    await _forget(queueing)
    assert await hall.take("tenant-9") > waits[8], "in use"
    with psycopg.connect(queueing.owner_url) as conn:
        conn.execute("UPDATE public.rate_counts SET expires_at = clock_timestamp()")
    await _forget(queueing)
    assert await hall.take("tenant-8") == 0


async def _forget(queueing: Database) -> None:
    engine = create_async_engine(sqlalchemy_url(queueing.owner_url))
    async with engine.begin() as conn:
        await ratelimit.forget_expired(conn)
    await engine.dispose()


async def test_time_is_the_databases(queueing: Database) -> None:
    async with pool_of(queueing.control_url) as pool:
        assert await PostgresTurns(pool, name="real", per_s=3).take("acme", requests=3) == 0
    with psycopg.connect(queueing.owner_url) as conn:
        query = (
            "SELECT newest / 1e6 - extract(epoch FROM clock_timestamp()) FROM public.rate_counts"
            " WHERE counter = 'real/queue'"
        )
        ((ago_s,),) = conn.execute(query).fetchall()
    assert -3600 < ago_s <= 0


async def test_where_nobody_can_tell_nobody_goes(queueing: Database) -> None:
    async with pool_of(queueing.control_url) as pool:
        turns = PostgresTurns(pool, name="gone", per_s=3)
        await pool.close()
        with pytest.raises(ProviderUnavailable, match="PostgreSQL"):
            await turns.take("acme", requests=1)
