"""What counts requests, for the contract. Each peer has two adapters on the same counts, as two
replicas have."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg_pool import AsyncConnectionPool

from controlplane.ports import RateLimits
from controlplane.store.ratelimit import PostgresRateLimits
from controlplane.store.ratelimit_local import LocalRateLimits
from controlplane.store.ratelimit_redis import RedisRateLimits, open_redis
from tests.database import Database

Clock = Callable[[], float]
# A machine that is busy with other tests takes its time.
PATIENCE_S = 60


@dataclass(frozen=True)
class Peer:
    """`at` makes an adapter that goes by this clock instead of the counts' own."""

    counts: RateLimits
    replica: RateLimits
    at: Callable[[Clock], RateLimits]


def local_peer() -> Peer:
    counts = LocalRateLimits()
    return Peer(counts, counts, lambda clock: LocalRateLimits(clock=clock))


@asynccontextmanager
async def postgres_peer(url: str) -> AsyncIterator[Peer]:
    async with pool_of(url) as one, pool_of(url) as other:
        yield Peer(
            PostgresRateLimits(one),
            PostgresRateLimits(other),
            lambda clock: PostgresRateLimits(one, clock=clock),
        )


def wait_for_counts(database: Database, *, seconds: float = PATIENCE_S) -> None:
    """Have whoever counts there wait so long for others who do."""
    with psycopg.connect(database.owner_url) as conn:
        statement = "ALTER FUNCTION public.admit_request SET lock_timeout = {}"
        conn.execute(sql.SQL(statement).format(sql.Literal(f"{seconds * 1000:.0f}ms")))


@asynccontextmanager
async def pool_of(url: str) -> AsyncIterator[AsyncConnectionPool[Any]]:
    options = {"autocommit": True, "prepare_threshold": None}
    pool = AsyncConnectionPool(url, min_size=0, max_size=4, kwargs=options, open=False)
    async with pool:
        yield pool


@asynccontextmanager
async def redis_peer(url: str) -> AsyncIterator[Peer]:
    async with AsyncExitStack() as stack:
        clients = [open_redis(url, patience_s=PATIENCE_S) for _ in range(2)]
        for client in clients:
            stack.push_async_callback(client.aclose)
        one, other = clients
        yield Peer(
            RedisRateLimits(one),
            RedisRateLimits(other),
            lambda clock: RedisRateLimits(one, clock=clock),
        )
