"""The loop of a worker that carries a rollout out, beside its operations.

Any number of workers do so at once; what one has in hand the others pass over.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from controlplane.domain import rollouts as decide
from controlplane.domain.rollouts import RolloutState
from controlplane.errors import DatabaseUnavailable
from controlplane.fleet import at_once, journal
from controlplane.fleet.at_once import StepByStep, Upgrading
from controlplane.fleet.journal import Due
from controlplane.fleet.online import OnlineUpgrades
from controlplane.fleet.upgrading import Outcome, Upgrader
from controlplane.provisioning.waiting import first_of
from controlplane.store import rollouts
from controlplane.store.rollouts import Rollout

log = structlog.get_logger()

_BATCH = 500
# In these a lane has got somewhere: what it asks for next may be there.
_PROGRESS = frozenset(
    {Outcome.DONE, Outcome.SKIPPED, Outcome.FAILED, Outcome.PUT_OFF, Outcome.PART}
)


@dataclass
class Roller:
    """Upgrades targets of the live rollout, if it is of this release's template.

    `database` is its own: it is closed when `run` ends, and its driver prepares no statements.
    `wake` is set by whoever heard of a rollout. `lanes` targets are upgraded at once by this worker.
    `in_one_message`: where nothing stands against it; else an upgrader's failpoints are come by.
    """

    database: AsyncEngine
    digest: str
    upgrader: Upgrader
    online: OnlineUpgrades
    lanes: int = 2
    in_one_message: bool = True
    stretch: int = at_once.STRETCH
    poll_s: float = 1.0
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    _due: deque[Due] = field(default_factory=deque)
    _refilling: asyncio.Lock = field(default_factory=asyncio.Lock)
    # Of the last batch: whether anything came of it.
    _moved: bool = True
    _seed: int = field(default_factory=lambda: random.getrandbits(31))

    async def run(self, stopping: asyncio.Event) -> None:
        """Returns when `stopping` is set and every upgrade that was begun has ended; one that runs
        in the child is broken off."""
        try:
            while not stopping.is_set():
                self.wake.clear()
                if not await self._turn(stopping):
                    await first_of(self.wake, stopping, timeout_s=self.poll_s)
        finally:
            await asyncio.to_thread(self.online.close)
            await self.database.dispose()

    async def _turn(self, stopping: asyncio.Event) -> bool:
        """Whether something has come of it. Whatever breaks a turn breaks no worker."""
        (moved,) = await asyncio.gather(self.turn(stopping), return_exceptions=True)
        match moved:
            case bool():
                return moved
            case DBAPIError():
                log.warning("rollout_interrupted", error=type(moved.orig).__name__)
            case BrokenProcessPool() | DatabaseUnavailable():
                log.warning("rollout_interrupted", error=type(moved).__name__)
            case BaseException():
                log.error("rollout_broke", exc_info=moved)
        return False

    async def turn(self, stopping: asyncio.Event) -> bool:
        """Upgrade what is due, then see what follows; whether something has come of it."""
        rollout = await self._mine()
        if rollout is None:
            return False
        self._due.clear()
        self._moved = True
        number = min(self.lanes, rollout.policy.max_parallel)
        lanes = (self._lane(rollout, stopping) for _ in range(number))
        done = _sum(await asyncio.gather(*lanes, return_exceptions=True))
        if stopping.is_set():
            return False
        async with self.database.begin() as conn:
            moved = await journal.advance(conn, rollout.id)
        return moved or done > 0

    async def _mine(self) -> Rollout | None:
        async with self.database.begin() as conn:
            rollout = await rollouts.live(conn)
        if rollout is None or rollout.digest != self.digest:
            return None
        return rollout if rollout.state is RolloutState.RUNNING else None

    async def _lane(self, rollout: Rollout, stopping: asyncio.Event) -> int:
        done, more = 0, True
        while more and not stopping.is_set():
            async with self._upgrading() as upgrading:
                moved, more = await self._stretched(upgrading, rollout, stopping)
            done += moved
        return done

    async def _stretched(
        self, upgrading: Upgrading, rollout: Rollout, stopping: asyncio.Event
    ) -> tuple[int, bool]:
        """With how many of a stretch's targets it got somewhere, and whether there may be more."""
        done = seen = 0
        while seen < self.stretch and not stopping.is_set():
            dues = await self._next(rollout, upgrading.at_most)
            if not dues:
                return done, False
            outcomes = await self._some(upgrading, rollout, dues)
            seen += len(outcomes)
            moved = sum(outcome in _PROGRESS for outcome in outcomes)
            self._moved = self._moved or moved > 0
            done += moved
            if Outcome.NO_PLACE in outcomes:
                return done, False
        return done, True

    @asynccontextmanager
    async def _upgrading(self) -> AsyncIterator[Upgrading]:
        if self.in_one_message:
            async with at_once.opened(self.upgrader, stretch=self.stretch) as upgrading:
                yield upgrading
        else:
            yield StepByStep(self.upgrader)

    async def _some(
        self, upgrading: Upgrading, rollout: Rollout, dues: Sequence[Due]
    ) -> list[Outcome]:
        """What came of the first of them; the others are due as before."""
        *done, last = await upgrading.some(rollout, dues)
        self._due.extendleft(reversed(dues[len(done) + 1 :]))
        return [*done, await self._online(rollout, dues[len(done)], last)]

    async def _online(self, rollout: Rollout, due: Due, outcome: Outcome) -> Outcome:
        if outcome is not Outcome.NEEDS_ONLINE:
            return outcome
        tenant_id = due.tenant_id
        try:
            return await self.online.one(rollout, tenant_id)
        except BrokenProcessPool:
            await self._child_died(rollout, tenant_id)
            return Outcome.PUT_OFF

    async def _child_died(self, rollout: Rollout, tenant_id: UUID) -> None:
        """Whatever killed it may be in the revision: it is tried as often as any other failure."""
        code, detail = "child_died", "The process that ran the revision has died."
        async with self.database.begin() as conn:
            attempt = await journal.attempts(conn, rollout.id, tenant_id) + 1
            if attempt >= rollout.policy.attempts:
                await journal.fail(conn, rollout.id, tenant_id, code, detail)
                return
            await journal.wait(
                conn,
                rollout.id,
                tenant_id,
                after_s=decide.wait_s(attempt),
                code=code,
                detail=detail,
                tried=True,
            )

    async def _next(self, rollout: Rollout, at_most: int) -> list[Due]:
        async with self._refilling:
            if not self._due and self._moved:
                self._moved = False
                async with self.database.begin() as conn:
                    found = await journal.candidates(
                        conn, rollout.id, seed=self._seed, limit=_BATCH
                    )
                self._due.extend(found)
        return [self._due.popleft() for _ in range(min(at_most, len(self._due)))]


def _sum(results: Sequence[int | BaseException]) -> int:
    """Raises the first exception, when every lane has ended."""
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return sum(result for result in results if isinstance(result, int))
