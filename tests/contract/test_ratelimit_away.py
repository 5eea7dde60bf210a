"""Whoever counts says so when nothing answers, and counts again as soon as something does."""

import psycopg
import pytest

from controlplane.domain.ratelimit import Quota
from controlplane.errors import ProviderUnavailable
from controlplane.store.ratelimit import PostgresRateLimits
from controlplane.store.ratelimit_redis import RedisRateLimits, open_redis
from tests.contract.ratelimit_peers import PATIENCE_S, pool_of, redis_peer, wait_for_counts
from tests.database import Database, Server
from tests.redis import RedisServer
from tests.web.test_health import close_database

pytestmark = pytest.mark.anyio

ACME = Quota("tenant:acme", 2)


async def test_a_redis_that_is_away_is_told_of_and_starts_from_nothing(redis: RedisServer) -> None:
    async with redis_peer(redis.url) as peer:
        await peer.counts.hit([ACME])
        redis.stop()
        try:
            with pytest.raises(ProviderUnavailable, match="Redis: ConnectionError"):
                await peer.counts.hit([ACME])
        finally:
            redis.start()
        verdicts = [await peer.counts.hit([ACME]) for _ in range(3)]
    assert [verdict.admitted for verdict in verdicts] == [True, True, False]


async def test_a_redis_that_is_silent_is_told_of(redis: RedisServer) -> None:
    client = open_redis(redis.url, patience_s=0.05)
    redis.freeze()
    try:
        with pytest.raises(ProviderUnavailable, match="Redis: TimeoutError"):
            await RedisRateLimits(client).hit([ACME])
    finally:
        redis.thaw()
        await client.aclose()


async def test_what_is_kept_in_redis_ends_with_its_window(redis: RedisServer) -> None:
    client = open_redis(redis.url, patience_s=PATIENCE_S)
    await RedisRateLimits(client).hit([Quota("tenant:globex", 2), Quota("tenant:globex", 2, 10)])
    kept = {key: await client.ttl(key) for key in await client.keys("*tenant:globex*")}
    await client.aclose()
    assert set(kept) == {
        b"controlplane:rate:tenant:globex/60",
        b"controlplane:rate:tenant:globex/10",
    }
    assert all(0 < seconds <= 62 for seconds in kept.values())


async def test_a_database_that_is_away_is_told_of_and_goes_on_counting(
    server: Server, database: Database
) -> None:
    async with pool_of(database.control_url) as pool:
        counts = PostgresRateLimits(pool)
        await counts.hit([ACME])
        close_database(server, database, closed=True)
        try:
            with pytest.raises(ProviderUnavailable, match="PostgreSQL: "):
                await counts.hit([ACME])
        finally:
            close_database(server, database, closed=False)
        verdicts = [await counts.hit([ACME]) for _ in range(2)]
    assert [verdict.admitted for verdict in verdicts] == [True, False]


async def test_whoever_holds_a_count_and_stands_still_makes_nobody_wait_for_long(
    database: Database,
) -> None:
    wait_for_counts(database, seconds=0.05)
    async with pool_of(database.control_url) as pool:
        counts = PostgresRateLimits(pool)
        await counts.hit([ACME])
        with psycopg.connect(database.owner_url) as still:
            still.execute("SELECT FROM public.rate_counts FOR UPDATE")
            with pytest.raises(ProviderUnavailable, match="PostgreSQL: LockNotAvailable"):
                await counts.hit([ACME])
        assert (await counts.hit([ACME])).admitted
