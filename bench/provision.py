"""What making a tenant costs: the schema step and Alembic against sending the bare script, and the
way from POST to an active tenant. Everything is measured in one run, the compared things in turn.

    .venv/bin/python bench/provision.py [--tenants N] [--json]
"""

import argparse
import asyncio
import json
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any
from uuid import UUID, uuid4

import ground
import httpx2
import psycopg
from sqlalchemy import event

from controlplane import log, settings
from controlplane.cli.ground import first_admin
from controlplane.domain.naming import parse_subdomain
from controlplane.provisioning import requests
from controlplane.provisioning.engine import Engine
from controlplane.provisioning.requests import NewTenant
from controlplane.store.audit import Actor
from controlplane.tenancy import alembic_run
from controlplane.wiring import Parts, open_parts
from controlplane.worker import open_engine

ROUNDS = 3
# Untimed, before anything is timed: caches and connections as in a process that has been up a while.
WARM = 3
WARM_BATCH = 8
ADMIN = Actor(None, "cli")

Figures = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", type=int, default=30, help="of each kind (30)")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    wanted = parser.parse_args()
    log.configure(level="error", style="console", stream=sys.stderr)
    with ground.site() as site:
        figures = asyncio.run(_measure(site, max(2, wanted.tenants)))
    print(_table(figures, wanted.tenants))
    if wanted.json:
        print(json.dumps({name: round(figures[name], 3) for name in KEYS}))


async def _measure(site: ground.Site, tenants: int) -> Figures:
    async with open_parts(settings.load(site.values)) as parts:
        steps = await _steps(parts, site.owner_url, tenants)
        token = await first_admin.fresh_token(parts.owner)
    return steps | await _through_the_api(site, token, tenants)


# -- one step against its floor ------------------------------------------------------------------


class Stopwatch:
    """A failpoint that times the schema step as the engine runs it: from before its transaction
    begins (fence, ownership check, script, inventory, condition, journal) to after its commit."""

    def __init__(self) -> None:
        self.ms = 0.0
        self._began = 0.0

    async def __call__(self, place: str) -> None:
        if place == "step:schema:before-begin":
            self._began = perf_counter()
        elif place == "step:schema:after-commit":
            self.ms = (perf_counter() - self._began) * 1000


@dataclass(frozen=True)
class Bare:
    """The very message that the engine sent for one tenant, to be sent again for others."""

    message: str
    tenant: UUID

    def script(self, tenant: UUID) -> str:
        text = self.message.replace(self.tenant.hex, tenant.hex)
        return text.replace(str(self.tenant), str(tenant))

    def frame(self, tenant: UUID) -> str:
        """Its beginning, which makes role and schema."""
        return self.script(tenant).partition("SET LOCAL")[0]


async def _steps(parts: Parts, owner_url: str, tenants: int) -> Figures:
    watch = Stopwatch()
    engine = open_engine(parts, failpoint=watch)
    bare = await _recorded(parts, engine)

    async def step() -> float:
        await _provision(parts, engine)
        return watch.ms

    with psycopg.connect(owner_url) as conn:
        conn.commit()
        ways: dict[str, Callable[[], Any]] = {
            "floor": lambda: _floor(conn, bare),
            "step": step,
            "alembic": lambda: _alembic(conn, bare, owner_url, parts),
        }
        taken = await _in_turn(ways, tenants)
    return {
        "floor_ms": statistics.median(taken["floor"]),
        "schema_ms": statistics.median(taken["step"]),
        "alembic_ms": statistics.median(taken["alembic"]),
        "schema_vs_floor": _ratio(taken["step"], taken["floor"]),
        "alembic_vs_floor": _ratio(taken["alembic"], taken["floor"]),
    }


async def _in_turn(ways: Mapping[str, Callable[[], Any]], times: int) -> dict[str, list[float]]:
    """Milliseconds of each way; each goes first, second and last equally often."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    order = list(ways)
    for number in range(WARM + times):
        for name in order:
            found = ways[name]()
            ms = await found if asyncio.iscoroutine(found) else found
            if number >= WARM:
                taken[name].append(ms)
        order = order[1:] + order[:1]
    return taken


def _ratio(ours: list[float], floor: list[float]) -> float:
    """The median of pairs: whatever else the machine did fell on both of a pair."""
    return statistics.median(a / b for a, b in zip(ours, floor, strict=True))


async def _recorded(parts: Parts, engine: Engine) -> Bare:
    sent: list[str] = []

    @event.listens_for(parts.owner.sync_engine, "before_cursor_execute")
    def record(*told: Any) -> None:
        if "CREATE SCHEMA" in told[2]:
            sent.append(told[2])

    tenant = await _provision(parts, engine)
    event.remove(parts.owner.sync_engine, "before_cursor_execute", record)
    (message,) = sent
    return Bare(message, tenant)


async def _provision(parts: Parts, engine: Engine) -> UUID:
    """Ask for a tenant and drive its operation to the end, in this process."""
    wanted = NewTenant("Bench", parse_subdomain(f"t-{uuid4().hex}"), "ada@bench.test")
    async with parts.control.begin() as conn:
        accepted = await requests.create_tenant(conn, wanted, actor=ADMIN, deadline_s=300)
    for operation in await engine.claim():
        await engine.drive(operation)
    return accepted.tenant_id


def _floor(conn: psycopg.Connection, bare: Bare) -> float:
    script = bare.script(uuid4())
    began = perf_counter()
    with conn.transaction():
        conn.execute(script.encode())
    return (perf_counter() - began) * 1000


def _alembic(conn: psycopg.Connection, bare: Bare, url: str, parts: Parts) -> float:
    """Role and schema by one message, the tables by Alembic; no seeds. Its revisions are loaded
    once for all, which a plain `alembic upgrade` does not have."""
    tenant = uuid4()
    frame = bare.frame(tenant)
    began = perf_counter()
    with conn.transaction():
        conn.execute(frame.encode())
    alembic_run.upgrade(url=url, tenant_id=tenant, template=parts.template, lock_timeout_ms=5000)
    return (perf_counter() - began) * 1000


# -- the whole way ---------------------------------------------------------------------------------


async def _through_the_api(site: ground.Site, token: str, tenants: int) -> Figures:
    async with ground.api(site, token) as client, ground.worker(site):
        for _ in range(WARM):
            await ground.post_tenant(client, wait=True)
        waits = [await ground.post_tenant(client, wait=True) for _ in range(tenants)]
        rates = await _rates(site, client, tenants)
    return {
        "post_to_active_p50_ms": statistics.median(waits),
        "post_to_active_p95_ms": statistics.quantiles(waits, n=20, method="inclusive")[-1],
        "tenants_per_s_1": statistics.median(rates[1]),
        "tenants_per_s_2": statistics.median(rates[2]),
    }


async def _rates(
    site: ground.Site, client: httpx2.AsyncClient, tenants: int
) -> dict[int, list[float]]:
    """Tenants per second of each round, by the number of workers, in turn."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(ROUNDS):
        rates[1].append(await _batch(site, client, tenants))
        async with ground.worker(site):
            await _batch(site, client, WARM_BATCH)
            rates[2].append(await _batch(site, client, tenants))
    return rates


_LEFT = "SELECT count(*) FROM public.operations WHERE finished_at IS NULL"
_RATE = """
SELECT count(*) FILTER (WHERE state = 'succeeded')
  / extract(epoch FROM max(finished_at) - min(created_at))
FROM public.operations WHERE created_at >= %s
"""


async def _batch(site: ground.Site, client: httpx2.AsyncClient, tenants: int) -> float:
    """Tenants per second, from the first one accepted to the last one active, by the database's
    clock; all are asked for at once."""
    async with await psycopg.AsyncConnection.connect(site.owner_url, autocommit=True) as conn:
        since = await _one(conn, "SELECT clock_timestamp()")
        await asyncio.gather(*(ground.post_tenant(client, wait=False) for _ in range(tenants)))
        while await _one(conn, _LEFT):  # noqa: ASYNC110  other processes do the work
            await asyncio.sleep(0.02)
        return float(await _one(conn, _RATE, since))


async def _one(conn: psycopg.AsyncConnection, query: str, *values: Any) -> Any:
    row = await (await conn.execute(query.encode(), values or None)).fetchone()
    return row[0] if row else None


# -- telling --------------------------------------------------------------------------------------

KEYS = (
    "schema_vs_floor",
    "alembic_vs_floor",
    "post_to_active_p50_ms",
    "post_to_active_p95_ms",
    "tenants_per_s_1",
    "tenants_per_s_2",
)


def _table(figures: Figures, tenants: int) -> str:
    f = figures
    rows = [
        ("bare script, one transaction (floor)", f"{f['floor_ms']:.1f} ms", "1.00"),
        ("schema step as the engine runs it", f"{f['schema_ms']:.1f} ms", _x(f, "schema")),
        ("Alembic upgrade, in process", f"{f['alembic_ms']:.1f} ms", _x(f, "alembic")),
        ("POST to active, p50", f"{f['post_to_active_p50_ms']:.0f} ms", ""),
        ("POST to active, p95", f"{f['post_to_active_p95_ms']:.0f} ms", ""),
        ("batch, one worker", f"{f['tenants_per_s_1']:.1f} tenants/s", ""),
        ("batch, two workers", f"{f['tenants_per_s_2']:.1f} tenants/s", ""),
    ]
    lines = [f"{what:<38}{much:>16}{ratio:>10}" for what, much, ratio in rows]
    head = f"{f'{tenants} tenants of each kind':<38}{'median':>16}{'of floor':>10}"
    return "\n".join([head, "-" * len(head), *lines])


def _x(figures: Figures, name: str) -> str:
    return f"{figures[f'{name}_vs_floor']:.2f}"


if __name__ == "__main__":
    main()
