"""What grows with the number of tenants, of the sample template: making one, drift, the API, app
servers' directory and connections, rollouts, the disk. One database that is filled from size to size.

    .venv/bin/python bench/growth.py [--sizes 1000,2000,5000,10000] [--json]    # half an hour or more, 25 GB
"""

import argparse
import asyncio
import json
import math
import os
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import perf_counter

import ground
from fleet_templates import templates
from growth_fleet import Fleet
from growth_served import Served
from growth_tenants import Figures, Tenants

from controlplane import embedded, log, settings
from controlplane.wiring import open_parts

# Of a server that is meant for so many; the embedded one's are those of a laptop.
SERVER = {"shared_buffers": "2GB", "max_wal_size": "8GB", "checkpoint_timeout": "15min"}
ROWS = (
    ("load", "load of the machine"),
    ("fill_ms", "a tenant, two connections filling, ms"),
    ("create_ms", "role and schema alone, ms"),
    ("drop_ms", "the same dropped, ms"),
    ("post_ms", "POST to active, ms"),
    ("claim_ms", "claim from the warm pool, ms"),
    ("drift_s", "drift of all, s"),
    ("drift_ms", "the same for each tenant, ms"),
    ("drift_one_ms", "drift of one, ms"),
    ("reconcile_s", "reconciliation, a look, s"),
    ("plan_ms", "rollout plan, all behind, ms"),
    ("start_ms", "rollout start, all behind, ms"),
    ("watch_ms", "progress of a rollout, ms"),
    ("rollout_per_s", "rollout, tenants/s"),
    ("noop_ms", "plan and rollout, nothing to do, ms"),
    ("api_start_s", "API process, start to ready, s"),
    ("ready_ms", "readiness, ms"),
    ("metrics_ms", "what /metrics asks, ms"),
    ("list_ms", "list, first page, ms"),
    ("deep_ms", "list, last page, ms"),
    ("state_ms", "list by state, ms"),
    ("search_ms", "search with one find, ms"),
    ("search_none_ms", "search without, ms"),
    ("subdomain_ms", "list by subdomain, ms"),
    ("get_ms", "one tenant, ms"),
    ("unknown_ms", "directory, unknown, ms"),
    ("known_us", "directory, known, µs"),
    ("directory_s", "directory, all one after the other, s"),
    ("directory_mb", "directory, memory of all, MB"),
    ("poll_ms", "directory, poll, ms"),
    ("poll_all_ms", "directory, poll when all have changed, ms"),
    ("first_ms", "new connection and its first select, ms"),
    ("check_login_ms", "an app server's look at its login, ms"),
    ("touch_ms", "select of a tenant not seen before, ms"),
    ("kept_mb", "memory of a connection that saw all, MB"),
    ("limited_mb", "the same with the limit of 500, MB"),
    ("worker_mb", "largest process of the worker's login, MB"),
    ("database_mb", "database, MB"),
    ("catalogs_mb", "catalogs, MB"),
    ("classes_k", "rows of pg_class, thousands"),
    ("files_k", "files, thousands"),
    ("checkpoint_s", "checkpoint after the fill, s"),
)
KEYS = tuple(key for key, _ in ROWS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1000,2000,5000,10000", help="how many tenants")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    wanted = parser.parse_args()
    sizes = sorted(int(size) for size in wanted.sizes.split(","))
    log.configure(level="error", style="console", stream=sys.stderr)
    embedded._SETTINGS.update(SERVER)  # noqa: SLF001  nobody else has so many tenants in it
    with ground.site() as site, tempfile.TemporaryDirectory(prefix="controlplane-bench-") as folder:
        found = asyncio.run(_measure(site, Path(folder), sizes))
        print(_table(found), flush=True)
    if wanted.json:
        rounded = {size: {key: round(each[key], 3) for key in KEYS} for size, each in found.items()}
        print(json.dumps(rounded))


async def _measure(site: ground.Site, folder: Path, sizes: Sequence[int]) -> dict[int, Figures]:
    _, new = templates(folder)
    found: dict[int, Figures] = {}
    async with open_parts(settings.load(site.values)) as parts:
        tenants = Tenants(parts, site)
        for size in sizes:
            began = perf_counter()
            figures: Figures = {}
            found[size] = figures
            loads = []
            for look in (
                partial(tenants.filled, size),
                tenants.alone,
                Served(tenants).figures,
                Fleet(tenants, new).figures,
            ):
                part = await look()
                loads.append(os.getloadavg()[0])
                figures |= part
                # At once: whoever stops the run keeps what it has found.
                print(_table({size: {"load": loads[-1], **part}}), flush=True)
            figures["load"] = sum(loads) / len(loads)
            print(f"  {size} took {perf_counter() - began:.0f} s", flush=True)
    return found


def _table(found: dict[int, Figures]) -> str:
    rows = [("tenants", *(f"{size:,}" for size in found))]
    rows += [
        (what, *(_shown(each[key]) for each in found.values()))
        for key, what in ROWS
        if all(key in each for each in found.values())
    ]
    return "\n".join(
        f"{what:<44}" + "".join(f"{cell:>11}" for cell in rest) for what, *rest in rows
    )


def _shown(value: float) -> str:
    return f"{value:,.{max(0, 2 - math.floor(math.log10(max(value, 1))))}f}"


if __name__ == "__main__":
    main()
