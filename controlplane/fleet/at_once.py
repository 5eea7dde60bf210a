"""Targets in messages from BEGIN to COMMIT: a round trip is as long as many a statement of it.

A message holds a transaction for each of its targets, and as many as take a moment. Nobody looks into
one on the way, so it looks by itself whether all is as it usually is. Where it is not, PostgreSQL undoes
it and runs none of those behind it; that target is looked at step by step, and the others come again.
"""

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol
from uuid import UUID, uuid4

from psycopg import Error as DriverError
from psycopg.errors import InsufficientPrivilege
from psycopg.sql import Literal
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.errors import RevisionNeedsOnline, TemplateInvalid
from controlplane.fleet import journal, statements
from controlplane.fleet.journal import Due
from controlplane.fleet.upgrading import Outcome, Upgrader, sqlstate
from controlplane.store import driver
from controlplane.store.rollouts import Rollout
from controlplane.tenancy.scope import enter, identify

_ALL_TOLD = frozenset({Outcome.MISSED, Outcome.NO_PLACE})
# Whoever stops a worker or waits behind a target in the same message waits so long at most, unless a
# target alone takes longer. More than so many gain nothing: measured, five are as fast as ten.
_MOMENT_S = 0.05
_AT_MOST = 8
# Of transactions, by which a session tells how many of a message it has committed.
_NUMBERS = itertools.count(1)
# After so many targets a connection is given up: its server process remembers the tables of every tenant
# that it has upgraded, some 30 kB of each.
STRETCH = 1000
_MET = "rollout targets met"
# What is around a script is made once, for this tenant that there is not, and then filled in: to make it
# for each took a twentieth of an upgrade.
_NOBODY = uuid4()


class Upgrading(Protocol):
    """Upgrades one target after the other; `at_most` is how many it takes at once."""

    @property
    def at_most(self) -> int: ...

    async def some(self, rollout: Rollout, dues: Sequence[Due]) -> list[Outcome]:
        """What came of the first of `dues`: of one at least. Raises what Upgrader.one does."""


@dataclass(frozen=True)
class StepByStep:
    """One target after the other, each by the steps of `upgrader`."""

    upgrader: Upgrader
    at_most: int = 1
    # Its connections are others' as well.
    met: int = 0

    async def some(self, rollout: Rollout, dues: Sequence[Due]) -> list[Outcome]:
        return [await self.upgrader.one(rollout, dues[0].tenant_id)]


@asynccontextmanager
async def opened(upgrader: Upgrader, *, stretch: int = STRETCH) -> AsyncIterator[Upgrading]:
    """What upgrades over a connection of its own, which is given up once it has met `stretch` targets,
    now and before. Raises DBAPIError."""
    async with upgrader.database.connect() as conn:
        known = (await conn.get_raw_connection()).info
        # The messages begin and end their transactions themselves.
        await conn.execution_options(isolation_level="AUTOCOMMIT")
        async with conn.begin():
            upgrading = await _upgrading(conn, upgrader)
            yield upgrading
        known[_MET] = known.get(_MET, 0) + upgrading.met
        if known[_MET] >= stretch:
            await conn.invalidate()


async def _upgrading(conn: AsyncConnection, upgrader: Upgrader) -> "StepByStep | _AtOnce":
    try:
        await statements.prepare_functions(conn)
    except DBAPIError as error:
        if not isinstance(error.orig, InsufficientPrivilege):
            raise
        return StepByStep(upgrader)
    return _AtOnce(conn, upgrader)


@dataclass(frozen=True)
class _Usual:
    """`begun` is its transaction but for its COMMIT."""

    due: Due
    number: int
    begun: str


@dataclass
class _AtOnce:
    conn: AsyncConnection
    upgrader: Upgrader
    at_most: int = 1
    met: int = 0
    _frames: dict[tuple[UUID, str | None], tuple[str, str]] = field(default_factory=dict)

    async def some(self, rollout: Rollout, dues: Sequence[Due]) -> list[Outcome]:
        usual = await self._usual(rollout, dues)
        if not usual:
            return [await self.upgrader.one(rollout, dues[0].tenant_id)]
        begun = monotonic()
        outcomes = await self._sent(rollout, usual)
        self.met += len(outcomes)
        # What was not done says how long it takes at least, and no more.
        done = outcomes.count(Outcome.DONE)
        each_s = (monotonic() - begun) / max(done, 1)
        fits = max(1, min(_AT_MOST, int(_MOMENT_S / each_s)))
        self.at_most = fits if done else min(self.at_most, fits)
        return outcomes

    async def _sent(self, rollout: Rollout, usual: Sequence[_Usual]) -> list[Outcome]:
        try:
            await driver.carry_out(self.conn, _message(usual))
        except DBAPIError as error:
            done = await self._committed(usual, error)
            await self._told(done)
            # A message is read before any of it is run: what cannot be read may be in another's script.
            its_own = done > 0 or len({each.due.before for each in usual}) == 1
            refused = await self._refused(rollout, usual[done].due, error, its_own=its_own)
            return [*[Outcome.DONE] * done, refused]
        await self._told(len(usual))
        return [Outcome.DONE] * len(usual)

    async def _told(self, done: int) -> None:
        for _ in range(done):
            await self.upgrader.failpoint("after-commit")

    async def _usual(self, rollout: Rollout, dues: Sequence[Due]) -> list[_Usual]:
        """The first of them, as far as they are on the usual way."""
        found = []
        for due in dues:
            script = await self._script(rollout, due)
            if script is None:
                break
            number = next(_NUMBERS)
            found.append(_Usual(due, number, self._transaction(rollout, due, number, script)))
        return found

    async def _script(self, rollout: Rollout, due: Due) -> str | None:
        """None for whatever is not on the usual way, the compiled one to the newest revision."""
        if due.before is None or due.before == rollout.revision or rollout.policy.back:
            return None
        way = self.upgrader.way
        try:
            await way.prepare(due.before, to=None)
        except (RevisionNeedsOnline, TemplateInvalid):
            return None
        return way.script(due.tenant_id, heads=due.before, to=None)

    def _transaction(self, rollout: Rollout, due: Due, number: int, script: str) -> str:
        key = (rollout.id, due.before)
        frame = self._frames.get(key) or self._frames.setdefault(key, self._frame(rollout, due))
        begun, ended = (_of(due.tenant_id, part) for part in frame)
        return f"{begun}{script}{ended}{number}"

    def _frame(self, rollout: Rollout, due: Due) -> tuple[str, str]:
        """What is before a script and behind it, as it would be for nobody."""
        known = {
            **journal.looked_at(rollout, _NOBODY, self.upgrader.installation),
            "before": Literal(due.before),
            "revision": Literal(rollout.revision),
        }
        take = statements.TAKE.format(**known).as_string()
        finish = statements.FINISH.format(**known).as_string()
        limits = statements.limits(rollout.policy)
        # It reads the tenant's revision, which somebody else may have locked.
        begun = f"BEGIN;\n{identify(_NOBODY)};\n{limits};\n{take};\n{enter(_NOBODY)};\n"
        return begun, f"{finish};\n{statements.NUMBER}"

    async def _committed(self, usual: Sequence[_Usual], error: DBAPIError) -> int:
        """How many were done before the one that was refused, which is undone."""
        if error.connection_invalidated or sqlstate(error) is None:
            raise error
        answers = await driver.rows_of_each(self.conn, f"ROLLBACK;\n{statements.LAST}")
        last = answers[-1][0][0]
        return sum(each.number <= last for each in usual)

    async def _refused(
        self, rollout: Rollout, due: Due, error: DBAPIError, *, its_own: bool
    ) -> Outcome:
        if sqlstate(error) != statements.REFUSED:
            # It is not tried again at once: whoever has waited behind it is let pass.
            tried = error if its_own else None
            return await self.upgrader.one(rollout, due.tenant_id, tried=tried)
        outcome = _reason(error)
        if outcome in _ALL_TOLD:
            return Outcome(outcome)
        return await self.upgrader.one(rollout, due.tenant_id)


def _message(usual: Sequence[_Usual]) -> str:
    """The last COMMIT waits for the disk, and that of all before it comes with it. A server that stops
    before has forgotten whole transactions of those that nobody was told of."""
    *before, last = (each.begun for each in usual)
    return (
        "".join(f"{each};\n{statements.LAZILY};\nCOMMIT;\n" for each in before) + f"{last};\nCOMMIT"
    )


def _reason(error: DBAPIError) -> str | None:
    return error.orig.diag.message_primary if isinstance(error.orig, DriverError) else None


def _of(tenant_id: UUID, text: str) -> str:
    # All of them are hexadecimal: nothing in them can end a literal or a name.
    return text.replace(_NOBODY.hex, tenant_id.hex).replace(str(_NOBODY), str(tenant_id))
