"""What the warm pool gains: a claim, and the way from POST to an active tenant with a schema that is
there already, against the way on which it is made. Both ways in turn, in one run.

    .venv/bin/python bench/pool.py [--tenants N] [--json]
"""

import argparse
import asyncio
import json
import statistics
import sys
from dataclasses import replace
from time import perf_counter

import ground
from sqlalchemy import text

from controlplane import log, settings
from controlplane.cli.ground import first_admin
from controlplane.store import warm_schemas
from controlplane.wiring import Parts, open_parts, warm_recipe
from controlplane.worker import open_warm_pool

KEYS = ("claim_ms_p50", "warm_p50_ms", "cold_p50_ms", "warm_vs_cold")
# Untimed, after each start of the processes.
WARM = 2
_ROUNDS = 2
_SIZE = 3
_PATIENCE_S = 120
_READY = text("SELECT count(*) FROM public.warm_schemas WHERE NOT going")


async def figures(site: ground.Site, tenants: int) -> dict[str, float]:
    """The figures of KEYS, from so many claims and so many tenants made each way."""
    values = {**site.values, "CONTROLPLANE_WARM_POOL_SIZE": str(_SIZE)}
    async with open_parts(settings.load(values)) as parts:
        claims = await _claims(parts, tenants)
        token = await first_admin.fresh_token(parts.owner)
        taken: dict[str, list[float]] = {"warm": [], "cold": []}
        for _ in range(_ROUNDS):
            await _emptied(parts)
            each = max(1, tenants // _ROUNDS)
            taken["cold"] += await _posts(parts, site, token, each, ready=0)
            warm = replace(site, values=values)
            taken["warm"] += await _posts(parts, warm, token, each, ready=_SIZE)
    cold, warm_ms = (statistics.median(taken[way]) for way in ("cold", "warm"))
    return {
        "claim_ms_p50": statistics.median(claims),
        "warm_p50_ms": warm_ms,
        "cold_p50_ms": cold,
        "warm_vs_cold": warm_ms / cold,
    }


async def _claims(parts: Parts, number: int) -> list[float]:
    """Milliseconds of a transaction that takes one and commits, on an open connection of the API's login.
    What was taken belongs to nobody: the database is thrown away."""
    pool = replace(open_warm_pool(parts), size=number + WARM)
    while await pool.turn():
        pass
    recipe, taken = warm_recipe(parts.settings, parts.template), []
    async with parts.control.connect() as conn:
        for _ in range(number + WARM):
            begun = perf_counter()
            async with conn.begin():
                found = await warm_schemas.claim(conn, recipe)
            taken.append((perf_counter() - begun) * 1000)
            if found is None:
                raise AssertionError("The pool is empty.")
    return taken[WARM:]


async def _posts(
    parts: Parts, site: ground.Site, token: str, number: int, *, ready: int
) -> list[float]:
    """Milliseconds from each POST to its active tenant; each begins when the pool is as it is to be,
    so that no worker fills it meanwhile with what the last one took."""
    taken = []
    async with ground.api(site, token) as client, ground.worker(site):
        for _ in range(number + WARM):
            await _until(parts, ready)
            taken.append(await ground.post_tenant(client, wait=True))
    return taken[WARM:]


async def _emptied(parts: Parts) -> None:
    """What is left of the pool is given away: a worker without one would keep it for minutes."""
    recipe = warm_recipe(parts.settings, parts.template)
    async with parts.control.begin() as conn:
        while await warm_schemas.claim(conn, recipe):
            pass


async def _until(parts: Parts, ready: int) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while await _ready(parts) != ready:  # noqa: ASYNC110  another process
            await asyncio.sleep(0.02)


async def _ready(parts: Parts) -> int:
    async with parts.owner.connect() as conn:
        return int((await conn.execute(_READY)).scalar_one())


def table(told: dict[str, float]) -> list[tuple[str, str, str]]:
    """Rows of what, how much and its ratio."""
    return [
        ("claim from the warm pool, p50", f"{told['claim_ms_p50']:.1f} ms", ""),
        ("POST to active, cold, p50", f"{told['cold_p50_ms']:.0f} ms", "1.00"),
        (
            "POST to active, warm, p50",
            f"{told['warm_p50_ms']:.0f} ms",
            f"{told['warm_vs_cold']:.2f} of cold",
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", type=int, default=30, help="claims, and tenants each way (30)")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    wanted = parser.parse_args()
    log.configure(level="error", style="console", stream=sys.stderr)
    with ground.site() as site:
        told = asyncio.run(figures(site, max(2, wanted.tenants)))
    print("\n".join(f"{what:<32}{much:>16}  {ratio}" for what, much, ratio in table(told)))
    if wanted.json:
        print(json.dumps({name: round(told[name], 3) for name in KEYS}))


if __name__ == "__main__":
    main()
