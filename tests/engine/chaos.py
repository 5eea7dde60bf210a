"""Kills workers, PostgreSQL, its sessions and the DNS folder at random, then looks over the world.

    python -m tests.engine.chaos --minutes 5 [--seed N] [--tenants 200] [--workers 4]

Prints what it does and ends with one line of JSON. A seed repeats the schedule of faults.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from email import message_from_bytes
from pathlib import Path
from time import monotonic
from typing import Any

import psycopg
from sqlalchemy.exc import DBAPIError

from controlplane import embedded, wiring
from controlplane.errors import ControlPlaneError
from controlplane.provisioning import requests
from controlplane.settings import load
from controlplane.store.logins import Logins
from tests.database import Database, Server, fresh_database
from tests.engine.lab import ACTOR, Lab, environment, open_lab
from tests.engine.world import assert_world

QUICK = {
    "CONTROLPLANE_WORKER_LEASE_S": "3",
    "CONTROLPLANE_WORKER_BEAT_S": "1",
    "CONTROLPLANE_WORKER_CALL_S": "2",
    "CONTROLPLANE_WORKER_POLL_S": "0.5",
    "CONTROLPLANE_REAPER_EVERY_S": "5",
}
# How often each fault strikes, relative to the others.
FAULTS = {"worker": 10, "session": 6, "dns": 3, "postgres": 1}
BETWEEN_FAULTS_S = 1.5
AT_WORK = 12
DRAIN_S = 600.0


@dataclass
class Chaos:
    """One run. `kills` counts what was really struck."""

    database: Database
    running: embedded.Embedded
    folder: Path
    dice: random.Random
    tenants: int
    workers: list[int] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    requested: int = 0

    @property
    def variables(self) -> dict[str, str]:
        return environment(self.database, self.folder, **self.more)

    @property
    def more(self) -> dict[str, str]:
        return {**QUICK, "CONTROLPLANE_DNS_ZONE_FILE": str(self.folder / "zone" / "apps.test")}

    def lab(self) -> AbstractAsyncContextManager[Lab]:
        return open_lab(self.database, self.folder, real_files=True, more=self.more)

    def start_worker(self) -> None:
        child = os.fork()
        if child == 0:
            _work(self.variables, self.folder / "workers.log")
        self.workers.append(child)

    def strike(self) -> None:
        """One fault, drawn by weight."""
        (fault,) = self.dice.choices(list(FAULTS), list(FAULTS.values()))
        getattr(self, f"strike_{fault}")()
        self.kills[fault] += 1

    def strike_worker(self) -> None:
        victim = self.workers.pop(self.dice.randrange(len(self.workers)))
        os.kill(victim, signal.SIGKILL)
        os.waitpid(victim, 0)
        self.start_worker()

    def strike_session(self) -> None:
        with contextlib.suppress(psycopg.Error), psycopg.connect(self.running.superuser_url) as c:
            c.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = %s ORDER BY random() LIMIT 2",
                [self.database.name],
            )

    def strike_dns(self) -> None:
        """The zone's folder is gone for a moment."""
        zone = self.folder / "zone"
        zone.rename(self.folder / "away")
        try:
            _pause(self.dice.uniform(0.2, 2.0))
        finally:
            (self.folder / "away").rename(zone)

    def strike_postgres(self) -> None:
        """Every server process dies at once and recovers from its log."""
        pid = int((self.running.data / "cluster" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)
        while Path(f"/proc/{pid}").exists():
            _pause(0.02)
        embedded.stop(self.running)
        self.running = embedded.start(self.running.data, port=self.running.port)

    def reap_workers(self) -> None:
        """A worker that ended by itself (PostgreSQL was away at its start) is started again."""
        for pid in list(self.workers):
            if os.waitpid(pid, os.WNOHANG)[0]:
                self.workers.remove(pid)
                self.start_worker()

    def stop_workers(self) -> None:
        for pid in self.workers:
            os.kill(pid, signal.SIGTERM)
        for pid in self.workers:
            os.waitpid(pid, 0)
        self.workers.clear()


def _work(variables: dict[str, str], log: Path) -> None:
    """A worker process; never returns."""
    # The parent's lock on PostgreSQL's folder is not to outlive a restart of it in here.
    os.closerange(3, 1024)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    try:
        asyncio.run(_run_worker(variables))
    except ControlPlaneError as error:
        print(error, flush=True)  # noqa: T201  into the log
    except BaseException:  # noqa: BLE001  the child must never run the parent's code
        traceback.print_exc()
    finally:
        os._exit(0)


async def _run_worker(variables: dict[str, str]) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    async with wiring.open_parts(load(variables)) as parts:
        await wiring.run_worker(parts, stopping)


def _pause(seconds: float) -> None:
    subprocess.run(["sleep", str(seconds)], check=True)  # noqa: S603, S607  a plain wait


@contextlib.contextmanager
def prepared(tenants: int, seed: int) -> Iterator[Chaos]:
    """A durable PostgreSQL: what was committed must outlive its death."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        (folder / "zone").mkdir()
        running = embedded.start(folder / "postgres")
        chaos: Chaos | None = None
        try:
            server = Server(running.version, running.superuser_url, Logins.named("cp"))
            with fresh_database(server) as database:
                dice = random.Random(seed)  # noqa: S311  a schedule, not a secret
                chaos = Chaos(database, running, folder, dice, tenants)
                yield chaos
                chaos.stop_workers()
        finally:
            embedded.stop(chaos.running if chaos is not None else running)


async def keep_busy(chaos: Chaos, lab: Lab) -> None:
    """Ask for tenants, deletions and cancels, so that some operations are always at work."""
    with contextlib.suppress(DBAPIError, ControlPlaneError):
        (row,) = await lab.sql(
            "SELECT count(*) FILTER (WHERE finished_at IS NULL) AS open FROM public.operations"
        )
        for _ in range(row.open, AT_WORK):
            await _ask(chaos, lab)


async def _ask(chaos: Chaos, lab: Lab) -> None:
    kind = chaos.dice.choices(["create", "delete", "cancel"], [6, 2, 1])[0]
    if kind == "create" and chaos.requested < chaos.tenants * 20:
        chaos.requested += 1
        await lab.create(f"tenant{chaos.requested}")
    elif kind == "delete":
        for row in await _some(lab, "SELECT id FROM public.tenants WHERE state = 'active'"):
            await lab.delete(row.id)
    elif kind == "cancel":
        query = "SELECT id FROM public.operations WHERE finished_at IS NULL"
        for row in await _some(lab, query):
            async with lab.parts.control.begin() as conn:
                await requests.cancel(conn, row.id, actor=ACTOR)


async def _some(lab: Lab, query: str) -> list[Any]:
    return await lab.sql(f"{query} ORDER BY random() LIMIT 1")


async def rage(chaos: Chaos, seconds: float) -> None:
    """Faults and requests until the time is over and enough tenants were asked for."""
    until, last = monotonic() + seconds, monotonic()
    while monotonic() < until or chaos.requested < chaos.tenants:
        async with chaos.lab() as lab:
            while monotonic() < last + BETWEEN_FAULTS_S:
                await keep_busy(chaos, lab)
                await asyncio.sleep(0.1)
        last = monotonic()
        await asyncio.to_thread(chaos.reap_workers)
        if monotonic() < until:
            chaos.strike()
            told = ", ".join(f"{n} {what}" for what, n in sorted(chaos.kills.items()))
            print(f"{chaos.requested} tenants asked for; struck: {told}", flush=True)  # noqa: T201


async def drain(chaos: Chaos) -> float:
    """Wait until every operation has ended and every mail was dealt with; seconds."""
    begun = monotonic()
    async with chaos.lab() as lab:
        while monotonic() < begun + DRAIN_S:
            (row,) = await lab.sql(
                "SELECT (SELECT count(*) FROM public.operations WHERE finished_at IS NULL)"
                " + (SELECT count(*) FROM public.email_deliveries"
                "    WHERE state IN ('queued', 'sending')) AS open"
            )
            if row.open == 0:
                break
            chaos.reap_workers()
            await asyncio.sleep(0.2)
    return monotonic() - begun


async def verdict(chaos: Chaos, drained_s: float, seed: int) -> dict[str, object]:
    """Looks over the world once everything has come to rest."""
    violations: list[str] = []
    async with chaos.lab() as lab:
        try:
            await assert_world(lab)
        except AssertionError:
            violations.append(traceback.format_exc())
        (counted,) = await lab.sql(
            "SELECT count(*) AS all, count(*) FILTER (WHERE finished_at IS NULL) AS open"
            " FROM public.operations"
        )
    if counted.open:
        violations.append(f"{counted.open} operations did not end")
    for violation in violations:
        print(violation, file=sys.stderr)  # noqa: T201  what it is for
    return {
        "kills": sum(chaos.kills.values()),
        "operations": counted.all,
        "violations": len(violations),
        "duplicate_mails": _duplicates(chaos.folder / "outbox"),
        "drained_s": round(drained_s, 1),
        "seed": seed,
    }


def _duplicates(outbox: Path) -> int:
    mails = Counter(
        message_from_bytes(path.read_bytes())["Message-ID"] for path in outbox.glob("*.eml")
    )
    return sum(n - 1 for n in mails.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--tenants", type=int, default=200)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))  # noqa: S311  no secret
    asked = parser.parse_args()
    with prepared(asked.tenants, asked.seed) as chaos:
        for _ in range(asked.workers):
            chaos.start_worker()
        asyncio.run(rage(chaos, asked.minutes * 60))
        drained_s = asyncio.run(drain(chaos))
        told = asyncio.run(verdict(chaos, drained_s, asked.seed))
    print(json.dumps(told))  # noqa: T201  the result
    return 0 if told["violations"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
