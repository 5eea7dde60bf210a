"""The loop of a worker: claim what is due, drive it, sleep until a hint or the next poll.

A notification is a hint only; polling is the truth. Any number of workers run this at once.
"""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from uuid import uuid4

import structlog
from sqlalchemy.exc import DBAPIError

from controlplane.domain.operations import Operation, Plan
from controlplane.errors import LeaseLost
from controlplane.provisioning import journal
from controlplane.provisioning.crew import Crew
from controlplane.provisioning.drive import Drive
from controlplane.provisioning.leases import Heartbeat
from controlplane.provisioning.plans import PLANS
from controlplane.provisioning.waiting import first_of

log = structlog.get_logger()


def worker_name() -> str:
    """Tells one worker from another in the journal; no two are alike."""
    return f"{socket.gethostname()}/{uuid4().hex[:12]}"


@dataclass
class Engine:
    """Claims and drives operations until told to stop.

    `wake` is set by whoever heard of new work. `slots` is how many operations are driven at once:
    as many as the database has cores, for DDL is bound by its CPU.
    """

    crew: Crew
    heartbeat: Heartbeat
    slots: int = 2
    plans: Sequence[Plan] = PLANS
    owner: str = field(default_factory=worker_name)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    _driving: set[asyncio.Task[None]] = field(default_factory=set)
    _claimed: float = field(default_factory=monotonic)

    async def run(self, stopping: asyncio.Event) -> None:
        """Returns when `stopping` is set and every step that was begun has ended or been let go."""
        self.heartbeat.start()
        try:
            while not stopping.is_set():
                await self._turn(stopping)
        finally:
            await self._settle()
            await asyncio.to_thread(self.heartbeat.stop)

    async def _turn(self, stopping: asyncio.Event) -> None:
        self.heartbeat.loop_turned()
        self.wake.clear()
        claimed = await self.claim()
        for operation in claimed:
            task = asyncio.create_task(self.drive(operation))
            self._driving.add(task)
            task.add_done_callback(self._ended)
        if not claimed or len(self._driving) >= self.slots:
            await first_of(self.wake, stopping, timeout_s=self.crew.timing.poll_s)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._driving.discard(task)
        self.wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # The lease runs out by itself, so the operation is tried again, here or elsewhere.
            log.error("drive_broke", exc_info=error)

    async def _settle(self) -> None:
        """Give the drives the time of one call, then let them go; the journal knows the rest."""
        if self._driving:
            _, late = await asyncio.wait(self._driving, timeout=self.crew.timing.call_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def claim(self) -> list[Operation]:
        """Claim as many due operations as there are free slots; none while the database is away."""
        free = self.slots - len(self._driving)
        if free <= 0:
            return []
        self._claimed = monotonic()
        try:
            async with self.crew.database.begin() as conn:
                return await journal.claim(
                    conn,
                    owner=self.owner,
                    ttl_s=self.crew.timing.lease_s,
                    plans=[plan.name for plan in self.plans],
                    limit=free,
                )
        except DBAPIError as error:
            log.warning("claim_failed", error=type(error.orig).__name__)
            return []

    async def drive(self, operation: Operation) -> None:
        """Drive one claimed operation; returns whatever happens to it."""
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None  # noqa: S101  a coroutine that runs has a task

        def lost() -> None:
            loop.call_soon_threadsafe(task.cancel)

        lease = self.heartbeat.add(operation, lost, claimed=self._claimed)
        drive = Drive(self.crew, operation, lease)
        try:
            turn_s = await drive.run()
            if turn_s is not None:
                # By a poll it would come late for its turn, and together with others.
                loop.call_later(turn_s, self.wake.set)
        except LeaseLost as error:
            log.warning("drive_lost", operation=str(operation.id), detail=str(error))
        except DBAPIError as error:
            # The fate of a commit is unknown: conclude nothing, let the next claim read the journal.
            log.warning(
                "drive_dropped", operation=str(operation.id), error=type(error.orig).__name__
            )
            await self._let_go(operation)
        except asyncio.CancelledError:
            await asyncio.shield(self._let_go(operation))
            raise
        finally:
            self.heartbeat.remove(lease)

    async def _let_go(self, operation: Operation) -> None:
        try:
            async with self.crew.database.begin() as conn:
                await journal.let_go(conn, operation)
        except DBAPIError as error:
            log.warning("let_go_failed", error=type(error.orig).__name__)
