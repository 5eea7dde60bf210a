"""What row-level security costs a tenant's queries: two tenants with the same rows, one of whom has its
policies switched off, asked in turn, by the app servers' login as each tenant's role.

    .venv/bin/python bench/row_security.py [--rows N] [--json]
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any
from uuid import UUID

import ground
import psycopg
from psycopg import sql

from controlplane import log, settings
from controlplane.domain.naming import parse_subdomain, schema_name
from controlplane.provisioning import requests
from controlplane.provisioning.requests import NewTenant
from controlplane.store.audit import Actor
from controlplane.wiring import Parts, open_parts
from controlplane.worker import open_engine

PAIRS = 60
LOOKUPS = 200
FILL = """
INSERT INTO {table} (tenant_id, id, actor_kind, action, occurred_at)
SELECT {tenant}, gen_random_uuid(), 'system', 'act.' || n % 50, now() - n * interval '1 s'
FROM generate_series(1, {rows}) AS n
"""
QUERIES = {
    "one row by its key": "SELECT action FROM audit_events WHERE id = %s",
    "100 rows by an index": "SELECT id FROM audit_events ORDER BY occurred_at DESC LIMIT 100",
    "all rows, counted": "SELECT count(*) FROM audit_events",
    "all rows, filtered": "SELECT count(*) FROM audit_events WHERE action LIKE '%%7'",
}
Took = dict[str, dict[UUID, list[float]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="of each tenant (100,000)")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    wanted = parser.parse_args()
    log.configure(level="error", style="console", stream=sys.stderr)
    with ground.site() as site:
        ratios = asyncio.run(_measure(site, wanted.rows))
    if wanted.json:
        print(json.dumps({"row_security_by_key": round(ratios["one row by its key"], 3)}))


async def _measure(site: ground.Site, rows: int) -> dict[str, float]:
    async with open_parts(settings.load(site.values)) as parts:
        guarded, open_to_all = await _tenant(parts, "guarded"), await _tenant(parts, "bare")
        keys = {
            tenant: _filled(site.owner_url, tenant, rows, guarded=tenant == guarded)
            for tenant in (guarded, open_to_all)
        }
        took: Took = {name: {guarded: [], open_to_all: []} for name in QUERIES}
        for number in range(PAIRS):
            for tenant in (guarded, open_to_all) if number % 2 else (open_to_all, guarded):
                await _ask(parts, tenant, random.sample(keys[tenant], LOOKUPS), took)
    return _told(took, guarded, open_to_all)


async def _tenant(parts: Parts, name: str) -> UUID:
    wanted = NewTenant(name, parse_subdomain(name), f"ada@{name}.test")
    async with parts.control.begin() as conn:
        asked = await requests.create_tenant(conn, wanted, actor=Actor(None, "cli"), deadline_s=300)
    engine = open_engine(parts)
    for operation in await engine.claim():
        await engine.drive(operation)
    return asked.tenant_id


def _filled(owner_url: str, tenant: UUID, rows: int, *, guarded: bool) -> list[UUID]:
    """Fills the tenant's table as its owner, and takes the policies away from one of the two."""
    table = sql.Identifier(schema_name(tenant), "audit_events")
    with psycopg.connect(owner_url, autocommit=True) as conn:
        conn.execute("SELECT set_config('app.current_tenant_id', %s, false)", [str(tenant)])
        conn.execute(
            sql.SQL(FILL).format(
                table=table, tenant=sql.Literal(str(tenant)), rows=sql.Literal(rows)
            )
        )
        if not guarded:
            conn.execute(sql.SQL("ALTER TABLE {} DISABLE ROW LEVEL SECURITY").format(table))
        conn.execute(sql.SQL("VACUUM ANALYZE {}").format(table))
        found = conn.execute(sql.SQL("SELECT id FROM {} LIMIT 5000").format(table))
        return [row[0] for row in found]


async def _ask(parts: Parts, tenant: UUID, keys: list[UUID], took: Took) -> None:
    """Every query in one transaction: what opening it costs is not what is looked for."""
    routed = await parts.directory.identify(tenant)
    assert routed is not None  # noqa: S101  it has just been made
    async with parts.tenancy.transaction(routed) as conn:
        for name, query in QUERIES.items():
            asked: list[list[Any]] = [[key] for key in keys] if "%s" in query else [[]]

            async def once(query: str = query, asked: list[list[Any]] = asked) -> None:
                for values in asked:
                    await (await conn.execute(query, values)).fetchall()

            took[name][tenant].append(await _seconds(once) / len(asked))


async def _seconds(ask: Callable[[], Awaitable[None]]) -> float:
    began = perf_counter()
    await ask()
    return perf_counter() - began


def _told(took: Took, guarded: UUID, bare: UUID) -> dict[str, float]:
    ratios = {}
    print(f"{'':<24}{'off':>10}{'on':>10}{'on / off':>10}")
    for name, of in took.items():
        ratios[name] = statistics.median(a / b for a, b in zip(of[guarded], of[bare], strict=True))
        off, on = (statistics.median(of[tenant]) * 1000 for tenant in (bare, guarded))
        print(f"{name:<24}{off:>7.3f} ms{on:>7.3f} ms{ratios[name]:>10.2f}")
    return ratios


if __name__ == "__main__":
    main()
