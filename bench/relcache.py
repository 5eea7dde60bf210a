"""What it costs that a server's process remembers the tables of every tenant it has served: many
tenants at random over four connections, with and without affinity, kept and replaced.

    .venv/bin/python bench/relcache.py [--tenants N]     # 5,000 take some eight minutes
"""

import argparse
import asyncio
import contextlib
import random
import statistics
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import routing_ground
from psycopg_pool import AsyncConnectionPool

from controlplane.routing import RoutedTenant, Tenancy

CONNECTIONS = 4
# The limit that a Tenancy has unless it is told otherwise.
LIMIT = 500
SELECT = "SELECT id, name FROM users WHERE id = %s"
INSERT = "INSERT INTO audit (what) VALUES (%s)"


@dataclass
class Variant:
    """`taken` holds each transaction's seconds and whether its process had not been there yet."""

    name: str
    affine: bool
    pools: list[AsyncConnectionPool]
    tenancies: list[Tenancy]
    taken: list[tuple[float, bool]] = field(default_factory=list)
    seen: set[tuple[int, int]] = field(default_factory=set)

    async def ask(self, number: int, tenant: RoutedTenant, draw: random.Random) -> None:
        chosen = number % CONNECTIONS if self.affine else draw.randrange(CONNECTIONS)
        began = perf_counter()
        async with self.tenancies[chosen].transaction(tenant) as conn:
            process = conn.info.backend_pid
            await (await conn.execute(SELECT, [7])).fetchone()
            await conn.execute(INSERT, ["read"])
        visit = (process, number)
        self.taken.append((perf_counter() - began, visit not in self.seen))
        self.seen.add(visit)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", type=int, default=5_000)
    measure(parser.parse_args().tenants)


def measure(tenants: int) -> None:
    """Prints a table."""
    with routing_ground.ground(tenants) as ground:
        asyncio.run(_measure(ground))


async def _measure(ground: routing_ground.Ground) -> None:
    draw = random.Random(7)  # noqa: S311  the same choices every time
    many = len(ground.tenants)
    async with contextlib.AsyncExitStack() as stack:
        variants = [
            await stack.enter_async_context(_variant(ground.unix, affine=affine, limit=limit))
            for affine in (False, True)
            for limit in (None, LIMIT)
        ]
        for _ in range(4 * many):
            number = draw.randrange(many)
            for variant in variants:
                await variant.ask(number, ground.tenants[number], draw)
        print(f"{many} tenants at random, {4 * many} transactions, Unix socket, 4 connections; ms")
        print(f"{'':38} {'first':>6} {'last':>6} {'unseen':>7} {'seen':>6} {'new':>5} MB each")
        for variant in variants:
            print(_row(variant, many, await _private_mb(variant)))


@contextlib.asynccontextmanager
async def _variant(unix: str, *, affine: bool, limit: int | None) -> AsyncIterator[Variant]:
    async with contextlib.AsyncExitStack() as stack:
        pools = [
            await stack.enter_async_context(
                AsyncConnectionPool(
                    routing_ground.login(unix, "app"), min_size=1, max_size=1, open=False
                )
            )
            for _ in range(CONNECTIONS)
        ]
        where = "a tenant's own connection" if affine else "any connection"
        kept = "kept" if limit is None else f"replaced after {limit}"
        tenancies = [Tenancy(pool, tenants_per_connection=limit) for pool in pools]
        yield Variant(f"{where}, {kept}", affine, pools, tenancies)


def _row(variant: Variant, many: int, private_mb: float) -> str:
    last = variant.taken[-many:]
    new = sum(unseen for _, unseen in last) / len(last)
    columns = (
        _median([seconds for seconds, _ in variant.taken[:many]]),
        _median([seconds for seconds, _ in last]),
        _median([seconds for seconds, unseen in variant.taken if unseen]),
        _median([seconds for seconds, unseen in variant.taken if not unseen]),
    )
    first, later, unseen, seen = (f"{column:6.2f}" for column in columns)
    return f"{variant.name:38} {first} {later} {unseen:>7} {seen} {new:5.0%} {private_mb:7.0f}"


def _median(seconds: list[float]) -> float:
    return statistics.median(seconds) * 1000 if seconds else float("nan")


async def _private_mb(variant: Variant) -> float:
    """Of a connection's process, on average; what it shares with others is not counted."""
    found = []
    for pool in variant.pools:
        async with pool.connection() as conn:
            found.append(_private_kb(conn.info.backend_pid) / 1000)
    return statistics.mean(found)


def _private_kb(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:"))


if __name__ == "__main__":
    main()
