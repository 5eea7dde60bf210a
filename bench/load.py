"""A thousand tenants' requests, eight at once, with and without the routing layer, directly and through
PgBouncer: 95 of 100 take no longer than what is told. In one process, so no network is in it.

    .venv/bin/python bench/load.py [--tenants N] [--requests N] [--json]
"""

import argparse
import asyncio
import contextlib
import json
import logging
import random
import resource
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from time import perf_counter
from typing import Any

import routing_ground
from psycopg_pool import AsyncConnectionPool

from controlplane.routing import RoutedTenant, Tenancy, TenantDirectory, TenantMiddleware
from controlplane.testing import pgbouncer

CLIENTS = 8
CONNECTIONS = 4
CHUNK = 200
SELECT = "SELECT id, name FROM users WHERE id = %s"
INSERT = "INSERT INTO audit (what) VALUES (%s)"
App = Callable[..., Awaitable[None]]
Figures = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", type=int, default=1_000)
    parser.add_argument("--requests", type=int, default=4_000, help="of each kind (4,000)")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    wanted = parser.parse_args()
    # A connection that has seen enough tenants is replaced; the pool says so each time.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    figures: Figures = {}
    with routing_ground.ground(wanted.tenants) as ground:
        for way, pooled in (("directly", False), ("PgBouncer", True)):
            with _logins(ground.tcp, pooled=pooled) as (app, pinned):
                found = asyncio.run(_measure(app, pinned, ground.tenants, wanted.requests))
            figures |= {f"{way}, {name}": value for name, value in found.items()}
    for name, value in figures.items():
        print(f"{name:<40}{value:>10.2f} ms")
    print(
        f"memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB"
    )
    if wanted.json:
        print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


@contextlib.contextmanager
def _logins(tcp: str, *, pooled: bool) -> Iterator[tuple[str, str]]:
    with contextlib.ExitStack() as stack:
        urls = [routing_ground.login(tcp, user) for user in ("app", "pinned")]
        if pooled:
            program = pgbouncer.found()
            if program is None:
                raise SystemExit("PgBouncer is not installed; see scripts/install-test-peers.")
            urls = [
                stack.enter_context(
                    pgbouncer.pgbouncer(url, program=program, connections=CONNECTIONS)
                )
                for url in urls
            ]
        yield urls[0], urls[1]


async def _measure(
    app_url: str, pinned_url: str, tenants: tuple[RoutedTenant, ...], requests: int
) -> Figures:
    async with _pool(app_url) as pool, _pool(pinned_url) as pinned:
        directory = TenantDirectory(pool)
        tenancy = Tenancy(pool)

        async def ours(*_called: Any) -> None:
            async with tenancy.transaction() as conn:
                await (await conn.execute(SELECT, [7])).fetchone()
                await conn.execute(INSERT, ["read"])

        async def plain(*_called: Any) -> None:
            async with pinned.connection() as conn, conn.transaction():
                await (await conn.execute(SELECT, [7])).fetchone()
                await conn.execute(INSERT, ["read"])

        routed = TenantMiddleware(ours, directory=directory, base_domain="example.com")
        misses = await _lookups(directory, tenants)
        hits = await _lookups(directory, tenants)
        draw = random.Random(4)  # noqa: S311  no secret
        taken: dict[str, list[float]] = {"without": [], "with": []}
        for _ in range(requests // CHUNK):
            for name, app in (("without", plain), ("with", routed)):
                taken[name] += await _crowd(app, draw.choices(tenants, k=CHUNK))
    return _told(taken, hits, misses)


def _pool(url: str) -> Any:
    kwargs = {"autocommit": True, "prepare_threshold": None}
    return AsyncConnectionPool(url, min_size=CONNECTIONS, max_size=CONNECTIONS, kwargs=kwargs)


async def _lookups(directory: TenantDirectory, tenants: Iterable[RoutedTenant]) -> list[float]:
    return [await _seconds(directory.lookup(tenant.subdomain)) for tenant in tenants]


async def _crowd(app: App, tenants: list[RoutedTenant]) -> list[float]:
    """Each client asks for one after the other."""
    queue = iter(tenants)

    async def client() -> list[float]:
        return [await _seconds(_request(app, tenant)) for tenant in queue]

    return [s for found in await asyncio.gather(*(client() for _ in range(CLIENTS))) for s in found]


async def _request(app: App, tenant: RoutedTenant) -> None:
    headers = [(b"host", f"{tenant.subdomain}.example.com".encode())]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}

    async def send(message: dict[str, Any]) -> None:
        raise SystemExit(f"refused: {message}")

    await app(scope, _nothing, send)


async def _nothing() -> AsyncIterator[None]:
    raise AssertionError


async def _seconds(asked: Awaitable[Any]) -> float:
    began = perf_counter()
    await asked
    return perf_counter() - began


def _told(taken: dict[str, list[float]], hits: list[float], misses: list[float]) -> Figures:
    figures = {
        f"{name} the layer, p{share}": _share(seconds, share)
        for name, seconds in taken.items()
        for share in (50, 95)
    }
    return figures | {"look-up known, p95": _share(hits, 95), "unknown, p95": _share(misses, 95)}


def _share(seconds: list[float], share: int) -> float:
    return statistics.quantiles(seconds, n=100)[share - 1] * 1000


if __name__ == "__main__":
    main()
