"""Where chaos takes place: a durable PostgreSQL, worker processes, and the ways to strike them."""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import psycopg

from controlplane import embedded, wiring, worker
from controlplane.errors import ControlPlaneError
from controlplane.settings import load
from controlplane.store.logins import Logins
from controlplane.tenancy import template
from tests.database import Database, Server, fresh_database
from tests.engine.lab import Lab, environment, open_lab

LEASE_S = 3
# Schemas that the workers keep ready.
WARM = 3
QUICK = {
    "CONTROLPLANE_WORKER_LEASE_S": str(LEASE_S),
    "CONTROLPLANE_WORKER_BEAT_S": "1",
    "CONTROLPLANE_WORKER_CALL_S": "2",
    "CONTROLPLANE_WORKER_POLL_S": "0.5",
    "CONTROLPLANE_REAPER_EVERY_S": "5",
    "CONTROLPLANE_WARM_POOL_SIZE": str(WARM),
}
# How often each fault strikes, relative to the others.
FAULTS = {"worker": 10, "session": 6, "zombie": 4, "dns": 3, "postgres": 1}


@dataclass
class Ground:
    """One run's world. `kills` counts what was really struck; `dice` are thrown for faults alone, so
    that a seed draws the same ones again however fast the run is."""

    database: Database
    running: embedded.Embedded
    folder: Path
    dice: random.Random
    workers: list[int] = field(default_factory=list)
    # When each frozen worker is to go on, by its pid.
    frozen: dict[int, float] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)

    @property
    def more(self) -> dict[str, str]:
        return {
            **QUICK,
            "CONTROLPLANE_DNS_ZONE_FILE": str(self.folder / "zone" / "apps.test"),
            # What customers have, not the tests' small one.
            "CONTROLPLANE_TENANT_TEMPLATE": str(template.load().application),
        }

    def lab(self) -> AbstractAsyncContextManager[Lab]:
        return open_lab(self.database, self.folder, real_files=True, more=self.more)

    def start_worker(self) -> None:
        variables = environment(self.database, self.folder, **self.more)
        child = os.fork()
        if child == 0:
            _work(variables, self.folder / "workers.log")
        self.workers.append(child)

    def strike(self) -> None:
        """One fault, drawn by weight."""
        (fault,) = self.dice.choices(list(FAULTS), list(FAULTS.values()))
        getattr(self, f"strike_{fault}")()
        self.kills[fault] += 1

    def strike_worker(self) -> None:
        """A frozen one too: it never wakes up."""
        victim = self.workers.pop(self.dice.randrange(len(self.workers)))
        os.kill(victim, signal.SIGKILL)
        os.waitpid(victim, 0)
        self.frozen.pop(victim, None)
        self.start_worker()

    def strike_zombie(self) -> None:
        """A worker is frozen for longer than its lease, and then goes on as if nothing had been."""
        victim = self.workers[self.dice.randrange(len(self.workers))]
        os.kill(victim, signal.SIGSTOP)
        self.frozen[victim] = monotonic() + LEASE_S + self.dice.uniform(0.5, 3.0)

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

    def thaw(self, *, all_of_them: bool = False) -> None:
        """Let those go on whose time has come."""
        for pid, until in list(self.frozen.items()):
            if all_of_them or until <= monotonic():
                del self.frozen[pid]
                os.kill(pid, signal.SIGCONT)

    def reap_workers(self) -> None:
        """A worker that ended by itself (PostgreSQL was away at its start) is started again."""
        for pid in list(self.workers):
            if os.waitpid(pid, os.WNOHANG)[0]:
                self.workers.remove(pid)
                self.frozen.pop(pid, None)
                self.start_worker()

    def stop_workers(self) -> None:
        self.thaw(all_of_them=True)
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
        await worker.run_worker(parts, stopping)


def _pause(seconds: float) -> None:
    subprocess.run(["sleep", str(seconds)], check=True)  # noqa: S603, S607  a plain wait


@contextlib.contextmanager
def prepared(seed: int) -> Iterator[Ground]:
    """A durable PostgreSQL: what was committed must outlive its death. In memory where there is
    room, for it is the server that dies and not the machine: on a busy disk its recovery takes
    minutes in which nothing is tried."""
    with tempfile.TemporaryDirectory(prefix="chaos-", dir=embedded.memory()) as made:
        folder = Path(made)
        folder.chmod(0o755)
        (folder / "zone").mkdir()
        running = embedded.start(folder / "postgres")
        ground: Ground | None = None
        try:
            server = Server(running.version, running.superuser_url, Logins.named("cp"))
            with fresh_database(server) as database:
                dice = random.Random(seed)  # noqa: S311  a schedule, not a secret
                ground = Ground(database, running, folder, dice)
                try:
                    yield ground
                finally:
                    ground.stop_workers()
        finally:
            embedded.stop(ground.running if ground is not None else running)
