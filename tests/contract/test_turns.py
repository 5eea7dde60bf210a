"""Who may ask a provider next that takes only so many requests a second (store/turns.py)."""

from collections.abc import AsyncIterator, Iterator
from itertools import count, pairwise

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from controlplane.errors import ProviderUnavailable
from controlplane.store import ratelimit
from controlplane.store.ratelimit import PostgresRateLimits
from controlplane.store.turns import PostgresTurns
from controlplane.store.urls import sqlalchemy_url
from tests.contract.ratelimit_peers import pool_of
from tests.database import Database, Server, fresh_database

pytestmark = pytest.mark.anyio
_names = count(1)


class Hall:
    """The queue before a provider, at a time of its own; two replicas ask in it."""

    def __init__(self, turns: list[PostgresTurns]) -> None:
        self.now = 1_000_000.0
        self.turns = turns

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
        made = Hall([])
        name = f"provider-{next(_names)}"
        counts = PostgresRateLimits(pool, clock=lambda: made.now)
        made.turns = [
            PostgresTurns(pool, counts, name=name, per_s=5, clock=lambda: made.now)
            for _ in range(2)
        ]
        yield made


async def test_as_many_go_at_once_as_a_second_allows(hall: Hall) -> None:
    told = [await hall.take(f"tenant-{number}", replica=number % 2) for number in range(6)]
    assert told[:5] == [0, 0, 0, 0, 0]
    assert told[5] > 0


async def test_whoever_must_wait_gets_places_one_behind_the_other(hall: Hall) -> None:
    told = [await hall.take(f"tenant-{number}", replica=number % 2) for number in range(15)]
    waits = told[5:]
    assert waits == sorted(waits)
    gaps = [after - before for before, after in pairwise(waits)]
    assert gaps == pytest.approx([61 / 60 / 5] * 9, abs=1e-5)


async def test_a_place_is_kept_at_every_replica(hall: Hall) -> None:
    for number in range(9):
        await hall.take(f"tenant-{number}")
    wait_s = await hall.take("acme")
    hall.now += wait_s / 2
    assert await hall.take("acme", replica=1) == pytest.approx(wait_s / 2, abs=1e-5)
    hall.now += wait_s / 2 + 1
    assert await hall.take("acme", replica=1) == 0


async def test_nobody_overtakes_the_queue(hall: Hall) -> None:
    last_s = max([await hall.take(f"tenant-{number}") for number in range(20)])
    hall.now += last_s - 0.1
    # There would be room: nobody has gone for a while.
    assert await hall.take("globex") == pytest.approx(0.1 + 61 / 60 / 5, abs=1e-4)
    assert await hall.take("tenant-7") == 0


async def test_who_comes_in_time_but_with_too_many_others_keeps_his_place(hall: Hall) -> None:
    for number in range(20):
        await hall.take(f"tenant-{number}")
    hall.now += 60
    told = [await hall.take(f"tenant-{number}") for number in range(5, 20)]
    assert told[:5] == [0, 0, 0, 0, 0]
    assert all(0 < wait_s < 1.1 for wait_s in told[5:])


async def test_who_asks_for_several_waits_for_all_of_them(hall: Hall) -> None:
    assert [await hall.take(name, 3) for name in ("acme",)] == [0]
    first_s, second_s = await hall.take("globex", 3), await hall.take("initech", 3)
    assert second_s - first_s == pytest.approx(3 * 61 / 60 / 5, abs=1e-5)


async def test_queues_of_different_names_do_not_meet(hall: Hall, queueing: Database) -> None:
    for number in range(20):
        await hall.take(f"tenant-{number}")
    async with pool_of(queueing.control_url) as pool:
        counts = PostgresRateLimits(pool, clock=lambda: hall.now)
        other = PostgresTurns(pool, counts, name="other", per_s=5, clock=lambda: hall.now)
        assert await other.take("acme", requests=1) == 0


async def test_what_the_reaper_forgets_is_over(queueing: Database) -> None:
    async with pool_of(queueing.control_url) as pool:
        turns = PostgresTurns(pool, PostgresRateLimits(pool), name="real", per_s=3)
        waits = [await turns.take(f"tenant-{number}", requests=3) for number in range(40)]
        engine = create_async_engine(sqlalchemy_url(queueing.owner_url))
        async with engine.begin() as conn:
            await ratelimit.forget_expired(conn)
        await engine.dispose()
        assert 0 < await turns.take("tenant-39", requests=3) <= waits[39]


async def test_where_nobody_can_tell_nobody_goes(queueing: Database) -> None:
    async with pool_of(queueing.control_url) as pool:
        turns = PostgresTurns(pool, PostgresRateLimits(pool), name="gone", per_s=3)
        await pool.close()
        with pytest.raises(ProviderUnavailable, match="PostgreSQL"):
            await turns.take("acme", requests=1)
