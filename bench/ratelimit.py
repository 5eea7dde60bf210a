"""What it costs to count a request: PostgreSQL, Redis and memory, against `SELECT 1` on the same
pool. Everything in one run, in turn.

    .venv/bin/python bench/ratelimit.py [--rounds N] [--json]
"""

import argparse
import asyncio
import contextlib
import json
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from time import perf_counter
from typing import Any
from uuid import uuid4

import ground
from psycopg_pool import AsyncConnectionPool

from controlplane import settings
from controlplane.connections import counting_pool
from controlplane.domain.ratelimit import Quota
from controlplane.ports import RateLimits
from controlplane.store.ratelimit import PostgresRateLimits
from controlplane.store.ratelimit_local import LocalRateLimits
from controlplane.store.ratelimit_redis import RedisRateLimits, open_redis
from controlplane.store.ratelimit_sheltered import ShelteredRateLimits

CHUNK = 50
WARM = 5
AT_ONCE = 32
ENOUGH = 1_000_000
KEYS = ("hit_vs_select", "hit_us_p50", "select_us_p50", "refused_us_p50", "hot_hits_per_s")

Ask = Callable[[], Awaitable[Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help=f"of {CHUNK} hits each (40)")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    wanted = parser.parse_args()
    with ground.site() as site:
        figures = asyncio.run(_measured(settings.load(site.values), wanted.rounds))
    if wanted.json:
        print(json.dumps({key: round(figures[key], 2) for key in KEYS}))


async def _measured(of: settings.Settings, rounds: int) -> dict[str, float]:
    async with counting_pool(of) as pool, _redis() as redis:
        asks = await _variants(pool, redis)
        taken: dict[str, list[float]] = {name: [] for name in asks}
        for number in range(WARM + rounds):
            for name, ask in asks.items():
                microseconds = await _chunk(ask)
                if number >= WARM:
                    taken[name].append(microseconds)
        found = {name: statistics.median(each) for name, each in taken.items()}
        hot = {name: await _hot(counts) for name, counts in _stores(pool, redis).items()}
    _print(found, hot)
    return {
        "hit_vs_select": found["PostgreSQL, two quotas"] / found["SELECT 1"],
        "hit_us_p50": found["PostgreSQL, two quotas"],
        "select_us_p50": found["SELECT 1"],
        "refused_us_p50": found["sheltered, refused before"],
        "hot_hits_per_s": hot["PostgreSQL"],
    }


def _stores(pool: AsyncConnectionPool[Any], redis: RateLimits | None) -> dict[str, RateLimits]:
    found: dict[str, RateLimits] = {"PostgreSQL": PostgresRateLimits(pool)}
    return found if redis is None else {**found, "Redis": redis}


async def _variants(pool: AsyncConnectionPool[Any], redis: RateLimits | None) -> dict[str, Ask]:
    async def select() -> None:
        async with pool.connection() as conn:
            await (await conn.execute("SELECT 1")).fetchall()

    counts = PostgresRateLimits(pool)
    sheltered = ShelteredRateLimits(counts, patience_s=60)
    full = [Quota(f"tenant:{uuid4()}", 1)]
    for _ in range(2):
        await sheltered.hit(full)
    asks = {
        "SELECT 1": select,
        "PostgreSQL, one quota": _hits(counts, quotas=1),
        "PostgreSQL, two quotas": _hits(counts),
        "PostgreSQL, two quotas, sheltered": _hits(sheltered),
        "sheltered, refused before": lambda: sheltered.hit(full),
        "memory, two quotas": _hits(LocalRateLimits()),
    }
    return asks if redis is None else {**asks, "Redis, two quotas": _hits(redis)}


def _hits(counts: RateLimits, *, quotas: int = 2) -> Ask:
    """A tenant's and one of a hundred principals', as requests come."""
    tenant, numbers = uuid4(), count()

    async def hit() -> None:
        principal = Quota(f"principal:{tenant}:{next(numbers) % 100}", ENOUGH)
        verdict = await counts.hit([Quota(f"tenant:{tenant}", ENOUGH), principal][:quotas])
        if not verdict.admitted or not verdict.shared:
            raise SystemExit("A hit was refused or counted elsewhere.")

    return hit


async def _chunk(ask: Ask) -> float:
    """Microseconds each, one after the other."""
    began = perf_counter()
    for _ in range(CHUNK):
        await ask()
    return (perf_counter() - began) / CHUNK * 1e6


async def _hot(counts: RateLimits) -> float:
    """Hits a second of one tenant, many at once."""
    hit = _hits(counts)

    async def several() -> None:
        for _ in range(CHUNK):
            await hit()

    began = perf_counter()
    await asyncio.gather(*(several() for _ in range(AT_ONCE)))
    return AT_ONCE * CHUNK / (perf_counter() - began)


@contextlib.asynccontextmanager
async def _redis() -> AsyncIterator[RateLimits | None]:
    """None where there is no redis-server."""
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="controlplane-bench-") as folder:
        command = [program, "--port", "0", "--unixsocket", f"{folder}/socket", "--save", ""]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603, ASYNC220  our own folder, before anything else runs
            if process.stdout is not None:
                next(line for line in process.stdout if b"eady to accept" in line)
            client = open_redis(f"unix://{folder}/socket", patience_s=60)
            yield RedisRateLimits(client)
            await client.aclose()
            process.terminate()


def _print(found: dict[str, float], hot: dict[str, float]) -> None:
    floor = found["SELECT 1"]
    print(f"{'one after the other':36} {'µs, p50':>8} {'of SELECT 1':>12}")
    for name, microseconds in found.items():
        print(f"{name:36} {microseconds:8.1f} {microseconds / floor:12.2f}")
    for name, rate in hot.items():
        print(f"{name}: {rate:.0f} hits/s of one tenant, {AT_ONCE} at once")


if __name__ == "__main__":
    main()
