"""A target in one message, from BEGIN to COMMIT: a round trip is as long as many a statement of it.

Nobody looks into it on the way, so it looks by itself whether all is as it usually is. Where it is
not, PostgreSQL undoes it all, and the target is looked at step by step.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

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

One = Callable[[Rollout, Due], Awaitable[Outcome]]
_ALL_TOLD = frozenset({Outcome.MISSED, Outcome.NO_PLACE})


@asynccontextmanager
async def opened(upgrader: Upgrader) -> AsyncIterator[One]:
    """What upgrades one target after the other over a connection of its own. It raises what
    Upgrader.one does."""
    async with upgrader.database.connect() as conn:
        # The messages begin and end their transactions themselves.
        await conn.execution_options(isolation_level="AUTOCOMMIT")
        async with conn.begin():
            try:
                await statements.prepare_functions(conn)
            except DBAPIError as error:
                if not isinstance(error.orig, InsufficientPrivilege):
                    raise
                yield lambda rollout, due: upgrader.one(rollout, due.tenant_id)
            else:
                yield _AtOnce(conn, upgrader).one


@dataclass(frozen=True)
class _AtOnce:
    conn: AsyncConnection
    upgrader: Upgrader

    async def one(self, rollout: Rollout, due: Due) -> Outcome:
        script = await self._script(rollout, due)
        if script is None or due.before is None:
            return await self.upgrader.one(rollout, due.tenant_id)
        message = self._message(rollout, due.tenant_id, due.before, script)
        try:
            await driver.rows_of_each(self.conn, message)
        except DBAPIError as error:
            return await self._refused(rollout, due, error)
        await self.upgrader.failpoint("after-commit")
        return Outcome.DONE

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

    def _message(self, rollout: Rollout, tenant_id: UUID, before: str, script: str) -> str:
        known = {
            **journal.looked_at(rollout, tenant_id, self.upgrader.installation),
            "before": Literal(before),
            "revision": Literal(rollout.revision),
        }
        take = statements.TAKE.format(**known).as_string()
        finish = statements.FINISH.format(**known).as_string()
        limits = statements.limits(rollout.policy)
        begun = f"BEGIN;\n{identify(tenant_id)};\n{take};\n{enter(tenant_id)};\n{limits};\n"
        return f"{begun}{script}{finish};\nCOMMIT"

    async def _refused(self, rollout: Rollout, due: Due, error: DBAPIError) -> Outcome:
        if error.connection_invalidated or sqlstate(error) is None:
            raise error
        await driver.rows_of_each(self.conn, "ROLLBACK")
        if sqlstate(error) != statements.REFUSED:
            # It is not tried again at once: whoever has waited behind it is let pass.
            return await self.upgrader.one(rollout, due.tenant_id, tried=error)
        outcome = _told(error)
        if outcome in _ALL_TOLD:
            return Outcome(outcome)
        return await self.upgrader.one(rollout, due.tenant_id)


def _told(error: DBAPIError) -> str | None:
    return error.orig.diag.message_primary if isinstance(error.orig, DriverError) else None
