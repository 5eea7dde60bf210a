"""Whether an application ever shows one tenant what is another's."""

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import psycopg
from psycopg import sql
from psycopg_pool import AsyncConnectionPool

from controlplane.errors import MissingTenantContext
from controlplane.routing import RoutedTenant, current_tenant
from controlplane.testing import pgbouncer
from controlplane.testing.drive import ASGIApp, Ask, Exchange, Fault, started
from controlplane.testing.ground import Neighbours
from controlplane.testing.watch import Watch, WatchedPool

CreateApp = Callable[[AsyncConnectionPool[Any]], ASGIApp]
# Of ten requests six are left in peace.
_FAULTS = (*[Fault.NONE] * 10, *(fault for fault in Fault if fault is not Fault.NONE))
_MARKER = re.compile(rb"marker-[0-9a-f]{32}")
_SHOWN = 5


def marker(tenant: RoutedTenant) -> str:
    """What no other tenant's rows hold; put it into a row of each tenant."""
    return f"marker-{tenant.id.hex}"


@dataclass
class LeakSummary:
    """What a run found. `answered` counts whole answers that showed their tenant's marker;
    `failed` requests that nothing disturbed, `wrong_rows` answers and rows with another tenant's
    marker or without their own, `wrong_scopes` requests that left a tenant in scope. `finds` says
    of the first of them what was wrong."""

    way: str
    tenants: int
    requests: int = 0
    answered: int = 0
    disturbed: int = 0
    failed: int = 0
    checkouts: int = 0
    wrong_rows: int = 0
    wrong_checkouts: int = 0
    wrong_scopes: int = 0
    seconds: float = 0.0
    faults: Counter[Fault] = field(default_factory=Counter)
    finds: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing was wrong, and something was answered at all."""
        wrong = self.wrong_rows + self.wrong_checkouts + self.wrong_scopes + self.failed
        return wrong == 0 and self.answered > 0

    def __str__(self) -> str:
        return (
            f"leaks {self.way}: {self.requests} requests of {self.tenants} tenants,"
            f" {self.answered} answered, {self.disturbed} disturbed, {self.failed} failed,"
            f" {self.wrong_rows} wrong rows, {self.checkouts} checkouts,"
            f" {self.wrong_checkouts} wrong, {self.wrong_scopes} wrong scopes,"
            f" {self.seconds:.1f} s"
        )

    def note(self, find: str) -> None:
        if len(self.finds) < _SHOWN:
            self.finds.append(find)


async def assert_no_leak(
    create_app: CreateApp,
    *,
    neighbours: Neighbours,
    asks: Sequence[Ask] = (Ask(),),
    requests: int = 1_000,
    refusals: frozenset[int] = frozenset(),
    seed: int = 1,
) -> list[LeakSummary]:
    """Ask the application as all tenants in turns and disturb it, through a pool of one connection
    and, where PgBouncer is installed, through four of its clients that share one connection.

    Raises AssertionError where an answer, or a row at the end, holds another tenant's `marker()`
    or lacks its own, where a connection is lent with anything left in it, where a tenant stays in
    scope, where an undisturbed request fails (with a status other than `refusals`), and where
    nothing was answered. Prints a line for each way and returns their summaries. Equal seeds draw
    equal requests; when each fault strikes is the machine's affair.
    """
    found = await look_for_leaks(
        create_app,
        neighbours=neighbours,
        asks=asks,
        requests=requests,
        refusals=refusals,
        seed=seed,
    )
    summaries = [_judged(found)]
    program = pgbouncer.found()
    if program is None:
        print("leaks through PgBouncer: not looked for, pgbouncer is not installed")  # noqa: T201  the reader of the test's output is to know
        return summaries
    with pgbouncer.pgbouncer(neighbours.app_url, program=program) as url:
        found = await look_for_leaks(
            create_app,
            neighbours=neighbours,
            asks=asks,
            requests=requests,
            refusals=refusals,
            seed=seed,
            pooler=(f"through {pgbouncer.version(program)}", url),
        )
    return [*summaries, _judged(found)]


def _judged(summary: LeakSummary) -> LeakSummary:
    print(summary)  # noqa: T201  what the test is run for
    if not summary.clean:
        raise AssertionError("\n".join([str(summary), *summary.finds]))
    return summary


async def look_for_leaks(
    create_app: CreateApp,
    *,
    neighbours: Neighbours,
    asks: Sequence[Ask] = (Ask(),),
    requests: int = 1_000,
    refusals: frozenset[int] = frozenset(),
    seed: int = 1,
    pooler: tuple[str, str] | None = None,
    way: str = "directly",
) -> LeakSummary:
    """One way of `assert_no_leak`, without judging it. `pooler` is what to call it, and its URL;
    `way` what to call it without one."""
    way, url = pooler or (way, neighbours.app_url)
    summary = LeakSummary(way, len(neighbours.tenants))
    watch = Watch(await _default_path(neighbours.app_url))
    pool = WatchedPool(url, size=4 if pooler else 1, watch=watch, pooled=pooler is not None)
    begun = time.monotonic()
    async with pool:
        app = create_app(pool)
        async with started(app):
            run = _Run(app, neighbours, asks, refusals, summary, random.Random(seed))  # noqa: S311  no secret
            await run.all(requests)
    summary.seconds = time.monotonic() - begun
    summary.checkouts, summary.wrong_checkouts = watch.checkouts, len(watch.wrong)
    summary.finds += [*watch.wrong[:_SHOWN], *_strays(neighbours, summary)]
    return summary


async def _default_path(app_url: str) -> str:
    """The search path of a connection that nobody has used."""
    async with await psycopg.AsyncConnection.connect(app_url) as conn:
        row = await (await conn.execute("SHOW search_path")).fetchone()
    return str(row and row[0])


@dataclass
class _Run:
    app: ASGIApp
    neighbours: Neighbours
    asks: Sequence[Ask]
    refusals: frozenset[int]
    summary: LeakSummary
    draw: random.Random

    async def all(self, requests: int) -> None:
        """Six clients, each with a connection's context of its own, take the requests in turn."""
        ahead = self._exchanges(requests)
        async with asyncio.TaskGroup() as clients:
            for _ in range(6):
                clients.create_task(self._client(ahead))

    def _exchanges(self, requests: int) -> Iterator[Exchange]:
        tenants = list(self.neighbours.tenants)
        for number in range(requests):
            if number % len(tenants) == 0:
                self.draw.shuffle(tenants)
            tenant = tenants[number % len(tenants)]
            ask, fault = self.draw.choice(self.asks), self.draw.choice(_FAULTS)
            yield Exchange(ask, self.neighbours.host(tenant), marker(tenant), fault)

    async def _client(self, ahead: Iterator[Exchange]) -> None:
        context = copy_context()
        for exchange in ahead:
            await exchange.run(self.app, self.draw, context)
            self._count(exchange)
            if (left := context.run(_left_in_scope)) is not None:
                self.summary.wrong_scopes += 1
                self.summary.note(f"{exchange.host} left {left} in scope")
                context = Context()

    def _count(self, exchange: Exchange) -> None:
        summary, ask = self.summary, exchange.ask
        summary.requests += 1
        summary.faults[exchange.fault] += 1
        seen = {found.decode() for found in _MARKER.findall(exchange.answer)}
        if seen - {exchange.marker}:
            self._wrong(exchange, "was shown another tenant's row")
        if exchange.fault is not Fault.NONE:
            summary.disturbed += 1
        elif ask.fails or exchange.status in self.refusals:
            pass
        elif exchange.error is not None or not exchange.whole or _refused(exchange):
            summary.failed += 1
            summary.note(f"{exchange.host}{ask.path} failed: {exchange.status}, {exchange.error!r}")
        elif ask.shows and exchange.marker not in seen:
            self._wrong(exchange, "was not shown its own row")
        elif ask.shows:
            summary.answered += 1

    def _wrong(self, exchange: Exchange, what: str) -> None:
        self.summary.wrong_rows += 1
        self.summary.note(f"{exchange.host}{exchange.ask.path} {what}")


def _refused(exchange: Exchange) -> bool:
    return exchange.status is not None and exchange.status >= HTTPStatus.BAD_REQUEST


def _left_in_scope() -> str | None:
    try:
        return current_tenant().subdomain
    except MissingTenantContext:
        return None


_TABLES = """
SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind IN ('r', 'p')
"""
_FOREIGN = sql.SQL(
    "SELECT count(*) FROM {} AS it WHERE it::text ~ 'marker-[0-9a-f]' AND it::text !~ {}"
)


def _strays(neighbours: Neighbours, summary: LeakSummary) -> Iterator[str]:
    """A sentence for each table that holds another tenant's marker; counts the rows."""
    with psycopg.connect(neighbours.superuser_url) as conn:
        for tenant in neighbours.tenants:
            for (table,) in conn.execute(_TABLES, [tenant.schema]).fetchall():
                name = sql.Identifier(tenant.schema, table)
                query = _FOREIGN.format(name, sql.Literal(marker(tenant)))
                row = conn.execute(query).fetchone()
                if row is not None and row[0]:
                    summary.wrong_rows += row[0]
                    yield f"{tenant.subdomain}.{table} holds {row[0]} rows of others"
