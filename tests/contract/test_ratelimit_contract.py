"""What whoever counts requests promises (controlplane/ports.py)."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import count
from random import Random

import pytest

from controlplane.domain.ratelimit import Quota, Standing
from controlplane.store.ratelimit_local import LocalRateLimits
from tests.contract.ratelimit_peers import (
    Peer,
    local_peer,
    postgres_peer,
    redis_peer,
    wait_for_counts,
)
from tests.database import Database, Server, fresh_database
from tests.redis import RedisServer

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]

# Each test has tenants of its own; the counts are everybody's.
_numbers = count(1)


@pytest.fixture(scope="module")
def counting(server: Server) -> Iterator[Database]:
    with fresh_database(server) as made:
        wait_for_counts(made)
        yield made


@pytest.fixture(params=["local", "postgres", "redis"])
async def peer(request: pytest.FixtureRequest) -> AsyncIterator[Peer]:
    if request.param == "local":
        yield local_peer()
    elif request.param == "postgres":
        counting: Database = request.getfixturevalue("counting")
        async with postgres_peer(counting.control_url) as made:
            yield made
    else:
        redis: RedisServer = request.getfixturevalue("redis")
        async with redis_peer(redis.url) as made:
            yield made


def tenant(limit: int, window_s: int = 60) -> Quota:
    return Quota(f"tenant:{next(_numbers)}", limit, window_s)


def left(standings: tuple[Standing | None, ...]) -> list[int]:
    return [standing.remaining for standing in standings if standing]


async def test_a_quota_admits_its_limit_over_all_replicas_and_no_more(peer: Peer) -> None:
    acme, globex = tenant(3), tenant(3)
    replicas = [peer.counts, peer.replica, peer.counts, peer.replica, peer.counts]
    verdicts = [await replica.hit([acme]) for replica in replicas]
    assert [verdict.admitted for verdict in verdicts] == [True, True, True, False, False]
    assert [left(verdict.standings) for verdict in verdicts] == [[2], [1], [0], [0], [0]]
    assert all(verdict.shared for verdict in verdicts)
    assert 0 < verdicts[-1].retry_after_s <= 61
    assert (await peer.replica.hit([globex])).admitted


async def test_a_request_that_is_refused_costs_no_quota_anything(peer: Peer) -> None:
    ada, bob, acme = tenant(1), tenant(9), tenant(3)
    assert (await peer.counts.hit([acme, ada])).admitted
    for _ in range(3):
        verdict = await peer.replica.hit([acme, ada])
        assert (verdict.admitted, left(verdict.standings)) == (False, [2, 0])
    verdicts = [await peer.counts.hit([acme, bob]) for _ in range(3)]
    assert [verdict.admitted for verdict in verdicts] == [True, True, False]
    assert left(verdicts[-1].standings) == [0, 7]


async def test_of_many_at_once_at_all_replicas_the_limits_number_is_admitted(peer: Peer) -> None:
    """Half of them name the quotas the other way round: nobody waits in a circle."""
    acme, ada, bob = tenant(10), tenant(8), tenant(8)
    asked = [[acme, ada], [ada, acme], [acme, bob], [bob, acme]] * 5
    verdicts = await asyncio.gather(
        *(replica.hit(quotas) for quotas in asked for replica in (peer.counts, peer.replica))
    )
    assert sum(verdict.admitted for verdict in verdicts) == 10
    spare = tenant(1)
    assert left((await peer.counts.hit([acme, spare])).standings) == [0, 1]


async def test_a_flood_is_counted_to_the_last_request(peer: Peer) -> None:
    """No adapter gives up because many ask at once: a tenant that could bring that about would have
    each replica count by itself, for everybody."""
    acme = tenant(150)
    verdicts = await asyncio.gather(*(peer.counts.hit([acme]) for _ in range(250)))
    assert sum(verdict.admitted for verdict in verdicts) == 150


async def test_windows_of_two_lengths_do_not_know_of_each_other(peer: Peer) -> None:
    minute = tenant(1)
    hour = Quota(minute.key, 1, 3_600)
    assert (await peer.counts.hit([minute])).admitted
    verdict = await peer.counts.hit([hour])
    assert verdict.admitted
    assert verdict.retry_after_s > 61


async def test_all_of_them_count_alike(peer: Peer) -> None:
    """By one clock, which runs, rests and is set back, as memory counts."""
    random, now_s = Random(4711), 1_700_000_000.0  # noqa: S311  no secret
    mine, model = peer.at(lambda: now_s), LocalRateLimits(clock=lambda: now_s)
    quotas = [tenant(4), tenant(7), tenant(2, window_s=10)]
    seen = set()
    for _ in range(150):
        now_s += random.choice([0, 0, 0.25, 1, 3.5, 20, 59, 61, 130, -2, -40, -7_000])
        asked = random.sample(quotas, random.randint(1, 3))
        found, expected = await mine.hit(asked), await model.hit(asked)
        assert (found.admitted, left(found.standings)) == (
            expected.admitted,
            left(expected.standings),
        )
        for one, other in zip(found.standings, expected.standings, strict=True):
            assert one is not None
            assert other is not None
            assert one.reset_s == pytest.approx(other.reset_s, abs=1e-3)
        seen.add((found.admitted, len(asked)))
    assert len(seen) == 6
