"""What it costs to be in a tenant: our transactions, django-tenants and schema_translate_map against
a plain transaction of a login that is pinned to one schema. Everything in one run, in turn.

    .venv/bin/python bench/routing.py [--rounds N] [--delay MS] [--relcache] [--no-django] [--json]
"""

import argparse
import asyncio
import contextlib
import json
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import in_process
import psycopg
import relcache
import routing_ground
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from sqlalchemy import Column, Integer, MetaData, String, Table, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from controlplane.routing import (
    RoutedTenant,
    SyncTenancy,
    Tenancy,
    TenantDirectory,
)
from controlplane.routing.sqlalchemy_sessions import async_tenant_sessions, for_tenant

TENANTS = 100
MANY = 5_000
WARM = 20
CHUNK = 10
SELECT = "SELECT id, name FROM users WHERE id = %s"
INSERT = "INSERT INTO audit (what) VALUES (%s)"
KEYS = (
    "delay_vs_pinned",
    "unix_vs_pinned",
    "middleware_us_p50",
    "lookup_us_p50",
    "django_tenants_vs_pinned",
    "translate_map_vs_pinned",
)

_SYNCHRONOUS = {"pinned, sync", "ours, sync", "django-tenants"}
_OPTIONS = {"autocommit": True, "prepare_threshold": None}
Request = Callable[[RoutedTenant], Awaitable[Any]]
Figures = dict[str, float]
_TABLES = MetaData()
_USERS = Table("users", _TABLES, Column("id", Integer, primary_key=True), Column("name", String))
_AUDIT = Table("audit", _TABLES, Column("what", String))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help=f"of {CHUNK} transactions each (40)")
    parser.add_argument("--delay", type=float, default=0.6, help="ms each way (0.6)")
    parser.add_argument("--relcache", action="store_true", help=f"also {MANY} tenants at random")
    parser.add_argument("--no-django", action="store_true", help="install no peer")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    wanted = parser.parse_args()
    with routing_ground.django_python(not wanted.no_django) as python:
        figures = _measured(wanted, python)
    if wanted.json:
        print(json.dumps({key: round(figures[key], 3) for key in KEYS if key in figures}))


def _measured(wanted: argparse.Namespace, python: Path | None) -> Figures:
    figures: Figures = {}
    with routing_ground.ground(TENANTS) as ground:
        for name, link in (
            ("unix", contextlib.nullcontext(ground.unix)),
            ("delay", routing_ground.delayed(ground.tcp, wanted.delay)),
        ):
            with link as conninfo:
                found = asyncio.run(_compare(conninfo, ground.tenants, python, wanted.rounds))
            _print_link(name, found)
            figures |= _ratios(name, found)
        figures |= asyncio.run(_in_process(ground))
        print(*(f"{key}: {figures[key]:.2f}" for key in KEYS[2:4]), sep="\n")
    if python is None:
        print("django-tenants is not compared: not wanted, or it does not install here")
    if wanted.relcache:
        relcache.measure(MANY)
    return figures


async def _compare(
    conninfo: str, tenants: tuple[RoutedTenant, ...], python: Path | None, rounds: int
) -> Figures:
    """The median milliseconds of each variant."""
    async with contextlib.AsyncExitStack() as stack:
        variants = await _variants(stack, conninfo)
        peer = (
            stack.enter_context(routing_ground.django(python, conninfo, tenants))
            if python
            else None
        )
        taken: dict[str, list[float]] = {}
        for number in range(WARM + rounds):
            found = {name: await _chunk(ask, tenants, number) for name, ask in variants.items()}
            if peer is not None:
                found["django-tenants"] = await peer.durations(CHUNK)
            if number >= WARM:
                for name, durations in found.items():
                    taken.setdefault(name, []).extend(durations)
    return {name: statistics.median(durations) * 1000 for name, durations in taken.items()}


async def _chunk(ask: Request, tenants: tuple[RoutedTenant, ...], number: int) -> list[float]:
    durations = []
    for step in range(CHUNK):
        tenant = tenants[(number * CHUNK + step) % len(tenants)]
        began = perf_counter()
        await ask(tenant)
        durations.append(perf_counter() - began)
    return durations


async def _variants(stack: contextlib.AsyncExitStack, conninfo: str) -> dict[str, Request]:
    ours, pinned = [
        await stack.enter_async_context(_pool(routing_ground.login(conninfo, user)))
        for user in ("app", "pinned")
    ]
    ours_sync, pinned_sync = (
        stack.enter_context(_sync_pool(routing_ground.login(conninfo, user)))
        for user in ("app", "pinned")
    )
    engine = await stack.enter_async_context(_engine(conninfo, "pinned"))
    entering = await stack.enter_async_context(_engine(conninfo, "app"))
    return {
        "round trip": partial(_ping, pinned),
        "pinned": partial(_pinned, pinned),
        "pinned, SQLAlchemy": partial(_alchemy, engine),
        "ours": partial(_ordinary, Tenancy(ours)),
        "ours, one round trip": partial(_batch, Tenancy(ours)),
        "ours, not pipelined": partial(_ordinary, Tenancy(ours, pipelined=False)),
        "ours, SQLAlchemy": partial(_session, async_tenant_sessions(entering)),
        "translate map": partial(_translated, engine),
        "pinned, sync": partial(_pinned_sync, pinned_sync),
        "ours, sync": partial(_ordinary_sync, SyncTenancy(ours_sync)),
    }


def _pool(conninfo: str) -> AsyncConnectionPool:
    return AsyncConnectionPool(conninfo, min_size=1, max_size=1, open=False, kwargs=dict(_OPTIONS))


def _sync_pool(conninfo: str) -> ConnectionPool:
    return ConnectionPool(conninfo, min_size=1, max_size=1, open=False, kwargs=dict(_OPTIONS))


@contextlib.asynccontextmanager
async def _engine(conninfo: str, user: str) -> AsyncIterator[AsyncEngine]:
    connect = partial(
        psycopg.AsyncConnection.connect,
        routing_ground.login(conninfo, user),
        prepare_threshold=None,
    )
    engine = create_async_engine("postgresql+psycopg://", async_creator=connect, pool_size=1)
    yield engine
    await engine.dispose()


async def _ping(pool: AsyncConnectionPool, _tenant: RoutedTenant) -> None:
    async with pool.connection() as conn:
        await conn.execute("SELECT 1")


async def _pinned(pool: AsyncConnectionPool, _tenant: RoutedTenant) -> None:
    async with pool.connection() as conn:
        await conn.execute("BEGIN")
        await (await conn.execute(SELECT, [7])).fetchone()
        await conn.execute(INSERT, ["read"])
        await conn.execute("COMMIT")


async def _ordinary(tenancy: Tenancy, tenant: RoutedTenant) -> None:
    async with tenancy.transaction(tenant) as conn:
        await (await conn.execute(SELECT, [7])).fetchone()
        await conn.execute(INSERT, ["read"])


async def _batch(tenancy: Tenancy, tenant: RoutedTenant) -> None:
    await tenancy.run([(SELECT, [7]), (INSERT, ["read"])], tenant=tenant)


async def _pinned_sync(pool: ConnectionPool, _tenant: RoutedTenant) -> None:
    """Nothing else runs meanwhile, so it may block the loop: no thread's cost is measured."""
    with pool.connection() as conn:
        conn.execute("BEGIN")
        conn.execute(SELECT, [7]).fetchone()
        conn.execute(INSERT, ["read"])
        conn.execute("COMMIT")


async def _ordinary_sync(tenancy: SyncTenancy, tenant: RoutedTenant) -> None:
    with tenancy.transaction(tenant) as conn:
        conn.execute(SELECT, [7]).fetchone()
        conn.execute(INSERT, ["read"])


async def _alchemy(engine: AsyncEngine, _tenant: RoutedTenant) -> None:
    async with engine.begin() as conn:
        (await conn.execute(_USERS.select().where(_USERS.c.id == 7))).one()  # noqa: PLR2004
        await conn.execute(_AUDIT.insert().values(what="read"))


async def _translated(engine: AsyncEngine, tenant: RoutedTenant) -> None:
    mapped = engine.execution_options(schema_translate_map={None: tenant.schema})
    await _alchemy(mapped, tenant)


async def _session(sessions: Any, tenant: RoutedTenant) -> None:
    async with sessions(info=for_tenant(tenant)) as session, session.begin():
        (await session.execute(_USERS.select().where(_USERS.c.id == 7))).one()  # noqa: PLR2004
        await session.execute(text("INSERT INTO audit (what) VALUES ('read')"))


def _ratios(name: str, found: Figures) -> Figures:
    """The peers are compared over the link with delay: that is where app servers are."""
    floor = found["pinned"]
    ratios = {f"{name}_vs_pinned": found["ours"] / floor}
    if name == "delay":
        ratios["translate_map_vs_pinned"] = found["translate map"] / floor
        if "django-tenants" in found:
            # It is synchronous, and is spared asyncio's cost.
            ratios["django_tenants_vs_pinned"] = found["django-tenants"] / found["pinned, sync"]
    return ratios


def _print_link(name: str, found: Figures) -> None:
    print(f"{name}: median of a transaction, and its ratio to the pinned one of its kind")
    for variant, taken in found.items():
        floor = found["pinned, sync" if variant in _SYNCHRONOUS else "pinned"]
        print(f"  {variant:22} {taken:7.2f} ms  {taken / floor:5.2f}")


async def _in_process(ground: routing_ground.Ground) -> Figures:
    async with _pool(routing_ground.login(ground.unix, "app")) as pool:
        directory = TenantDirectory(pool)
        return {
            "lookup_us_p50": await in_process.lookup_us(directory, ground.tenants[7]),
            "middleware_us_p50": await in_process.middleware_us(directory, ground.tenants[7]),
        }


if __name__ == "__main__":
    main()
