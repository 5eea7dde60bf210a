"""Kills and freezes workers, kills PostgreSQL, its sessions and the DNS folder at random, then looks
over the world.

    python -m tests.engine.chaos --minutes 5 [--seed N] [--tenants 200] [--workers 4]

Prints what it does and ends with one line of JSON; exits with 1 if harm was done. A seed repeats the
schedule of faults.
"""

import argparse
import asyncio
import contextlib
import json
import random
import sys
import traceback
from collections import Counter
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path
from time import monotonic
from typing import Any

from sqlalchemy.exc import DBAPIError

from controlplane.domain.naming import parse_subdomain
from controlplane.errors import ControlPlaneError
from controlplane.provisioning import lifecycle, requests
from tests.engine.chaos_ground import WARM, Ground, prepared
from tests.engine.lab import ACTOR, Lab
from tests.engine.plans_under_test import found
from tests.engine.world import assert_world

BETWEEN_FAULTS_S = 1.5
AT_WORK = 12
# What is asked for, and how often relative to the rest.
WISHES = {"create": 6, "delete": 2, "rename": 2, "cancel": 1}


@dataclass
class Customers:
    """Ask for tenants, deletions, renames and cancels, so that some operations are always at work."""

    dice: random.Random
    tenants: int
    requested: int = 0
    renamed: int = 0

    async def keep_busy(self, lab: Lab) -> None:
        with contextlib.suppress(DBAPIError, ControlPlaneError):
            (row,) = await lab.sql(
                "SELECT count(*) FILTER (WHERE finished_at IS NULL) AS open FROM public.operations"
            )
            for _ in range(row.open, AT_WORK):
                (wish,) = self.dice.choices(list(WISHES), list(WISHES.values()))
                await getattr(self, wish)(lab)

    async def create(self, lab: Lab) -> None:
        if self.requested < self.tenants * 20:
            self.requested += 1
            await lab.create(f"tenant{self.requested}", warm=True)

    async def delete(self, lab: Lab) -> None:
        for row in await _some(lab, "SELECT id FROM public.tenants WHERE state = 'active'"):
            await lab.delete(row.id)

    async def rename(self, lab: Lab) -> None:
        for row in await _some(lab, "SELECT id FROM public.tenants WHERE state = 'active'"):
            self.renamed += 1
            name = parse_subdomain(f"renamed{self.renamed}")
            async with lab.parts.control.begin() as conn:
                await lifecycle.rename(conn, row.id, subdomain=name, actor=ACTOR, deadline_s=300)

    async def cancel(self, lab: Lab) -> None:
        query = "SELECT id FROM public.operations WHERE finished_at IS NULL"
        for row in await _some(lab, query):
            async with lab.parts.control.begin() as conn:
                await requests.cancel(conn, row.id, actor=ACTOR)


async def _some(lab: Lab, query: str) -> list[Any]:
    return await lab.sql(f"{query} ORDER BY random() LIMIT 1")


async def rage(ground: Ground, customers: Customers, seconds: float) -> None:
    """Faults and requests until the time is over and enough tenants were asked for."""
    until = monotonic() + seconds
    while monotonic() < until or customers.requested < customers.tenants:
        async with ground.lab() as lab:
            quiet_until = monotonic() + BETWEEN_FAULTS_S
            while monotonic() < quiet_until:
                await customers.keep_busy(lab)
                ground.thaw()
                await asyncio.sleep(0.1)
        await asyncio.to_thread(ground.reap_workers)
        if monotonic() < until or not ground.kills:
            ground.strike()
            told = ", ".join(f"{n} {what}" for what, n in sorted(ground.kills.items()))
            print(f"{customers.requested} tenants asked for; struck: {told}", flush=True)  # noqa: T201


async def fill(ground: Ground, limit_s: float) -> None:
    """Wait until the warm pool has its size, so that whoever comes first is given of it."""
    until = monotonic() + limit_s
    async with ground.lab() as lab:
        while monotonic() < until and (await _open(lab)).warm < WARM:  # noqa: ASYNC110  PostgreSQL tells nobody
            await asyncio.sleep(0.1)


async def drain(ground: Ground, limit_s: float) -> float:
    """Wait until every operation has ended, every mail was dealt with, the reconciler has taken
    away what a frozen worker may have left and the warm pool is back at its size; seconds."""
    begun = monotonic()
    async with ground.lab() as lab:
        while monotonic() < begun + limit_s and (ground.frozen or await _busy(lab)):
            ground.thaw()
            ground.reap_workers()
            await asyncio.sleep(0.2)
    return monotonic() - begun


async def _busy(lab: Lab) -> bool:
    row = await _open(lab)
    return bool(row.operations or row.mails) or row.warm != WARM or bool(await found(lab))


async def _open(lab: Lab) -> Any:
    (row,) = await lab.sql(
        "SELECT (SELECT count(*) FROM public.operations WHERE finished_at IS NULL) AS operations,"
        " (SELECT count(*) FROM public.email_deliveries"
        "  WHERE state IN ('queued', 'sending')) AS mails,"
        " (SELECT count(*) FROM public.warm_schemas) AS warm"
    )
    return row


async def verdict(ground: Ground, drained_s: float, seed: int) -> dict[str, object]:
    """Looks over the world once everything has come to rest."""
    violations: list[str] = []
    async with ground.lab() as lab:
        try:
            await assert_world(lab)
        except AssertionError:
            violations.append(traceback.format_exc())
        violations += [f"drift: {finding}" for finding in await found(lab)]
        left = await _open(lab)
        (counted,) = await lab.sql(
            "SELECT count(*) AS all, count(*) FILTER (WHERE kind = 'clean') AS orphans,"
            " count(*) FILTER (WHERE kind = 'clean' AND params->'schema' = 'true') AS lost,"
            " count(*) FILTER (WHERE kind = 'provision'"
            "  AND jsonb_typeof(params->'warm') = 'object') AS warm"
            " FROM public.operations"
        )
    if left.operations or left.mails:
        violations.append(f"{left.operations} operations and {left.mails} mails did not end")
    if counted.lost:
        # What is remote may be left over by a frozen worker; a schema never.
        violations.append(f"{counted.lost} schemas were nobody's")
    if left.warm != WARM:
        violations.append(f"the warm pool is at {left.warm}, not at {WARM}")
    for violation in violations:
        print(violation, file=sys.stderr)  # noqa: T201  what it is for
    print(f"{counted.orphans} orphans were found and taken away")  # noqa: T201
    return {
        "kills": sum(ground.kills.values()),
        "operations": counted.all,
        "from_pool": counted.warm,
        "violations": len(violations),
        "duplicate_mails": _duplicates(ground.folder / "outbox"),
        "drained_s": round(drained_s, 1),
        "seed": seed,
    }


def _duplicates(outbox: Path) -> int:
    mails = Counter(
        message_from_bytes(path.read_bytes())["Message-ID"] for path in outbox.glob("*.eml")
    )
    return sum(n - 1 for n in mails.values())


def wreak(
    *, minutes: float, tenants: int, workers: int, seed: int, drain_s: float
) -> dict[str, object]:
    """One run, and what came of it."""
    with prepared(seed) as ground:
        for _ in range(workers):
            ground.start_worker()
        asyncio.run(fill(ground, drain_s))
        customers = Customers(random.Random(seed), tenants)  # noqa: S311  no secret
        asyncio.run(rage(ground, customers, minutes * 60))
        drained_s = asyncio.run(drain(ground, drain_s))
        ground.stop_workers()
        return asyncio.run(verdict(ground, drained_s, seed))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--tenants", type=int, default=200)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--drain-s", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))  # noqa: S311  no secret
    told = wreak(**vars(parser.parse_args()))
    print(json.dumps(told))  # noqa: T201  the result
    return 0 if told["violations"] == told["duplicate_mails"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
