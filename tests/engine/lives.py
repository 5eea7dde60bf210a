"""Workers that die inside this process, as cheaply as by the thousand."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from controlplane import connections
from controlplane.store.operations import OperationView
from tests.engine import failpoints
from tests.engine.faults import Failure
from tests.engine.ground import Ground
from tests.engine.lab import Lab
from tests.engine.plans_under_test import Scenario
from tests.engine.world import assert_world


class Killed(BaseException):
    """As if the process had ended here."""


# Told the life so far and the place where it is now: whether it ends here.
Dies = Callable[["Life", str], bool]


def never(_life: "Life", _place: str) -> bool:
    return False


def at(place: str) -> Dies:
    """Dies at a place of that name."""
    return lambda _life, here: here == place


def at_nth(n: int) -> Dies:
    """Dies at the n-th place that it passes, from 0."""
    return lambda life, _here: len(life.passed) == n


def after_commits(n: int) -> Dies:
    """Dies as soon as its drive has committed so often."""
    return lambda life, _here: life.commits >= n


@dataclass
class Life:
    """What one worker has passed and committed; the claim is no commit of its drive."""

    dies: Dies
    passed: list[str] = field(default_factory=list)
    commits: int = 0
    died: bool = False
    pids: list[int] = field(default_factory=list)


@dataclass
class Mortals:
    """Workers with connections of their own. When one dies they break, and it gets no others:
    what it might still do while the exception rises does not reach the database."""

    lab: Lab
    superuser: psycopg.AsyncConnection[Any]
    database: AsyncEngine = field(init=False)
    _life: Life = field(init=False)
    _kind: str = ""
    _connections: set[psycopg.AsyncConnection[Any]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.database = connections.open_owner(self.lab.parts.settings)
        for name, listener in (
            ("do_connect", self._connecting),
            ("connect", self._connected),
            ("commit", self._commits),
        ):
            event.listen(self.database.sync_engine, name, listener)

    async def live(self, dies: Dies) -> Life:
        """Drive one operation that is due until the drive or the life is over."""
        life = self._life = Life(dies)
        engine = self.lab.engine()
        engine.crew = replace(engine.crew, database=self.database, failpoint=self._pass)
        try:
            for operation in await engine.claim():
                self._kind, life.commits = operation.plan.kind, 0
                await engine.drive(operation)
        except Killed:
            await self.database.dispose()
            await self._until_buried(life.pids)
        return life

    async def _pass(self, place: str) -> None:
        life = self._life
        dies = life.dies(life, place)
        life.passed.append(place)
        if dies:
            life.died = True
            failpoints.log.hit.add(failpoints.name(self._kind, place))
            life.pids = [connection.info.backend_pid for connection in self._connections]
            while self._connections:
                self._connections.pop().pgconn.finish()
            raise Killed

    def _connecting(self, *_args: object) -> None:
        if self._life.died:
            raise Killed

    def _connected(self, dbapi_connection: Any, _record: object) -> None:
        self._connections.add(dbapi_connection.driver_connection)

    def _commits(self, _connection: object) -> None:
        self._life.commits += 1

    async def _until_buried(self, pids: list[int]) -> None:
        """Until PostgreSQL has noticed: before, the dead one's locks are there."""
        query = "SELECT FROM pg_stat_activity WHERE pid = ANY(%s)"
        async with asyncio.timeout(60):
            while (await self.superuser.execute(query, [pids])).rowcount:  # noqa: ASYNC110  PostgreSQL tells nobody
                await asyncio.sleep(0.002)


@dataclass
class Trial:
    """One scenario after the other in one lab, each beginning with the bystander alone."""

    lab: Lab
    scenario: Scenario
    undoing: bool
    ground: Ground
    mortals: Mortals
    _has_begun: bool = False

    async def begin(self) -> OperationView:
        """Ask for the plan; when undoing, its pivot will fail."""
        if self._has_begun:
            failpoints.log.more += 1
        self._has_begun = True
        tenant_id = await self.ground.prepare(self.scenario)
        operation = await self.scenario.ask(self.lab, tenant_id)
        if self.undoing:
            pivot = self.scenario.plan.steps[self.scenario.plan.pivot]
            self.lab.steps = Failure(pivot.name, pivot.action).wrap(self.lab.steps)
        return operation

    async def live(self, dies: Dies) -> Life:
        """One more life, whatever leases the earlier ones hold."""
        await self.lab.expire()
        return await self.mortals.live(dies)

    async def end(self, operation: OperationView, *, cancelled: bool = False) -> None:
        """Let an immortal one finish, and look the world over."""
        back = self.undoing or cancelled
        ended = await self.lab.settle(operation)
        while await self.lab.mailroom().deliver_one():
            pass
        world = await assert_world(self.lab)
        expected = self.scenario.rolled_back if back else self.scenario.succeeded
        outcome = "cancelled" if cancelled else "failed"
        assert ended.state == (outcome if back else "succeeded")
        assert world.tenants[operation.tenant_id].state == expected
        if not back:
            assert len(self.lab.sender.sent) - self.ground.mails == self.scenario.mails - 1


@asynccontextmanager
async def open_trial(ground: Ground, scenario: Scenario, *, undoing: bool) -> AsyncIterator[Trial]:
    """Workers that die beside the ground's bystander."""
    mortals = Mortals(ground.lab, ground.superuser)
    try:
        yield Trial(ground.lab, scenario, undoing, ground, mortals)
    finally:
        await mortals.database.dispose()
