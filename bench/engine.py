"""What the engine costs: steps that do nothing, driven by the engine and by a bare psycopg loop that
sends the same statements in the same transactions; a claim among many finished operations; twenty
tenants asked for at once under four workers. What is compared is measured in one run, in turn.

    .venv/bin/python bench/engine.py [--quick] [--json]
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any
from uuid import UUID

import ground
import httpx2
import psycopg
from backlog import PLAN, enter, enter_finished
from replay import Script, recorded

from controlplane import log, settings
from controlplane.cli.ground import first_admin
from controlplane.provisioning.crew import Crew
from controlplane.provisioning.engine import Engine
from controlplane.provisioning.leases import Heartbeat
from controlplane.provisioning.step import Output, Plain, Target
from controlplane.wiring import Parts, open_parts
from controlplane.worker import timing

# Rounds that are not timed: caches and connections as in a process that has been up a while.
WARM = 2
POSTS = 20
WORKERS = 4


@dataclass(frozen=True)
class Amounts:
    """`pairs` of `batch` operations each, `claims` among `finished` operations, `rounds` of POSTs."""

    pairs: int = 12
    batch: int = 60
    claims: int = 200
    finished: int = 100_000
    rounds: int = 5


QUICK = Amounts(pairs=6, batch=30, claims=100, rounds=1)

Figures = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    wanted = parser.parse_args()
    log.configure(level="error", style="console", stream=sys.stderr)
    with ground.site() as site:
        figures = asyncio.run(_measure(site, QUICK if wanted.quick else Amounts()))
    print(_table(figures))
    if wanted.json:
        print(json.dumps({name: round(figures[name], 3) for name in KEYS}))


async def _measure(site: ground.Site, amounts: Amounts) -> Figures:
    async with open_parts(settings.load(site.values)) as parts:
        bench = Bench(parts, site.owner_url)
        with psycopg.connect(site.owner_url, autocommit=True) as conn:
            figures = await bench.overhead(conn, amounts)
            figures |= await bench.claims(conn, amounts)
        token = await first_admin.fresh_token(parts.owner)
    return figures | await _posts(site, token, amounts)


class Idle(Plain):
    """A local step without any effect."""

    async def ensure(self, _tx: Any, _target: Target) -> Output:
        return None


@dataclass(frozen=True)
class Bench:
    """The engine as a worker has it, with steps that do nothing; one slot, so one after the other."""

    parts: Parts
    owner_url: str

    async def overhead(self, conn: psycopg.Connection, amounts: Amounts) -> Figures:
        """Operations per second of the three ways, and median ratios of those measured in turn."""
        enter(conn, 1)
        script = await recorded(self.parts.owner.sync_engine, self._drive_one)
        taken: dict[str, list[float]] = {}
        bare = await psycopg.AsyncConnection.connect(self.owner_url)
        async with bare:
            with psycopg.connect(self.owner_url) as blocking:
                ways: dict[str, Callable[[], Awaitable[float]]] = {
                    "bare": lambda: _bare_s(conn, bare, script, amounts.batch),
                    "engine": lambda: self._engine_s(conn, amounts.batch),
                    "blocking": lambda: _blocking_s(conn, blocking, script, amounts.batch),
                }
                taken = await _in_turn(ways, amounts.pairs)
        per_s = {f"{way}_per_s": amounts.batch / statistics.median(s) for way, s in taken.items()}
        return per_s | {
            "overhead_vs_bare": _ratio(taken["engine"], taken["bare"]),
            "overhead_vs_blocking": _ratio(taken["engine"], taken["blocking"]),
        }

    async def claims(self, conn: psycopg.Connection, amounts: Amounts) -> Figures:
        """Milliseconds of a claim with nothing else in the tables, and among finished operations."""
        conn.execute("TRUNCATE public.operations CASCADE")
        alone = await self._claim_ms(conn, amounts.claims)
        enter_finished(conn, amounts.finished)
        among = await self._claim_ms(conn, amounts.claims)
        return {"finished": amounts.finished, "claim_ms_alone": alone, "claim_ms_p50": among}

    def _engine(self, failpoint: Any) -> Engine:
        steps = {step.name: Idle() for step in PLAN.steps}
        times = timing(self.parts.settings)
        crew = Crew(self.parts.owner, self.parts.installation, steps, times, failpoint)  # type: ignore[arg-type]  # Idle is never undone
        return Engine(crew, Heartbeat(self.owner_url, times), slots=1, plans=(PLAN,))

    async def _engine_s(self, conn: psycopg.Connection, operations: int) -> float:
        """Seconds in which the worker's loop ends so many operations."""
        enter(conn, operations)
        stopping, left, ended = asyncio.Event(), operations, 0.0

        async def watch(place: str) -> None:
            nonlocal left, ended
            if place == "operation:idle:after-finish":
                left -= 1
                if not left:
                    ended = perf_counter()
                    stopping.set()

        engine = self._engine(watch)
        began = perf_counter()
        await engine.run(stopping)
        return ended - began

    async def _drive_one(self) -> UUID:
        async def nowhere(_place: str) -> None: ...

        engine = self._engine(nowhere)
        (operation,) = await engine.claim()
        await engine.drive(operation)
        return operation.id

    async def _claim_ms(self, conn: psycopg.Connection, claims: int) -> float:
        """The claim's transaction as the worker's loop has it; what is claimed is driven, untimed."""

        async def nowhere(_place: str) -> None: ...

        enter(conn, claims)
        conn.execute("ANALYZE")
        engine, taken = self._engine(nowhere), []
        for _ in range(claims):
            began = perf_counter()
            (operation,) = await engine.claim()
            taken.append((perf_counter() - began) * 1000)
            await engine.drive(operation)
        return statistics.median(taken)


async def _in_turn(
    ways: Mapping[str, Callable[[], Awaitable[float]]], times: int
) -> dict[str, list[float]]:
    """Seconds of each way; each goes first, second and last equally often."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    order = list(ways)
    for number in range(WARM + times):
        for name in order:
            seconds = await ways[name]()
            if number >= WARM:
                taken[name].append(seconds)
        order = order[1:] + order[:1]
    return taken


def _ratio(ours: list[float], floor: list[float]) -> float:
    """The median of pairs: whatever else the machine did fell on both of a pair."""
    return statistics.median(a / b for a, b in zip(ours, floor, strict=True))


async def _bare_s(
    conn: psycopg.Connection, bare: psycopg.AsyncConnection, script: Script, operations: int
) -> float:
    enter(conn, operations)
    began = perf_counter()
    for _ in range(operations):
        await script.play(bare)
    return perf_counter() - began


async def _blocking_s(
    conn: psycopg.Connection, bare: psycopg.Connection, script: Script, operations: int
) -> float:
    enter(conn, operations)
    began = perf_counter()
    for _ in range(operations):
        script.play_blocking(bare)
    return perf_counter() - began


# -- twenty tenants at once ------------------------------------------------------------------------


async def _posts(site: ground.Site, token: str, amounts: Amounts) -> Figures:
    """Seconds from the first POST to the last active tenant, at once and one after the other."""
    at_once, in_line = [], []
    async with ground.api(site, token) as client, _workers(site):
        await _at_once(client)
        for _ in range(amounts.rounds):
            at_once.append(await _at_once(client))
            in_line.append(await _in_line(client))
    ratios = [a / b for a, b in zip(at_once, in_line, strict=True)]
    return {
        "posts20_s": statistics.median(at_once),
        "posts20_in_line_s": statistics.median(in_line),
        "posts20_vs_in_line": statistics.median(ratios),
    }


@contextlib.asynccontextmanager
async def _workers(site: ground.Site) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(WORKERS):
            await stack.enter_async_context(ground.worker(site))
        yield


async def _at_once(client: httpx2.AsyncClient) -> float:
    began = perf_counter()
    await asyncio.gather(*(ground.post_tenant(client, wait=True) for _ in range(POSTS)))
    return perf_counter() - began


async def _in_line(client: httpx2.AsyncClient) -> float:
    began = perf_counter()
    for _ in range(POSTS):
        await ground.post_tenant(client, wait=True)
    return perf_counter() - began


# -- telling --------------------------------------------------------------------------------------

KEYS = ("overhead_vs_bare", "claim_ms_p50", "posts20_s", "posts20_vs_in_line")


def _table(f: Figures) -> str:
    claim_ratio = f["claim_ms_p50"] / f["claim_ms_alone"]
    rows = [
        (
            f"bare loop, {len(PLAN.steps)} steps (floor)",
            f"{f['bare_per_s']:.0f} operations/s",
            "1.00",
        ),
        ("engine", f"{f['engine_per_s']:.0f} operations/s", f"{f['overhead_vs_bare']:.2f}"),
        ("blocking bare loop", f"{f['blocking_per_s']:.0f} operations/s", _x(f)),
        ("claim, nothing finished (floor)", f"{f['claim_ms_alone']:.2f} ms", "1.00"),
        (
            f"claim, {f['finished']:,.0f} finished",
            f"{f['claim_ms_p50']:.2f} ms",
            f"{claim_ratio:.2f}",
        ),
        (f"{POSTS} POSTs in line (floor)", f"{f['posts20_in_line_s']:.2f} s", "1.00"),
        (f"{POSTS} POSTs at once", f"{f['posts20_s']:.2f} s", f"{f['posts20_vs_in_line']:.2f}"),
    ]
    head = f"{'':<38}{'median':>20}{'of floor':>10}"
    lines = [f"{what:<38}{much:>20}{ratio:>10}" for what, much, ratio in rows]
    return "\n".join([head, "-" * len(head), *lines])


def _x(f: Figures) -> str:
    """The blocking loop's time as a ratio of the floor's."""
    return f"{f['overhead_vs_bare'] / f['overhead_vs_blocking']:.2f}"


if __name__ == "__main__":
    main()
