"""One target of a rollout: its schema, the catalog and the journal change in one transaction."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

import structlog
from psycopg import Error as DriverError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from controlplane.domain import rollouts as decide
from controlplane.domain.rollouts import Later, Refuse, Skip
from controlplane.errors import RevisionFailed, RevisionNeedsOnline, TemplateInvalid
from controlplane.fleet import journal, statements
from controlplane.fleet.journal import BACK, HEADS, Held
from controlplane.fleet.ways import Way, last
from controlplane.store import driver, positions
from controlplane.store.rollouts import Rollout
from controlplane.tenancy.scope import enter

log = structlog.get_logger()

Failpoint = Callable[[str], Awaitable[None]]

# Of a transaction that PostgreSQL has surely rolled back and that may work later: rollback,
# resources, locks, and a statement cut off.
_PASSING = ("40", "53", "55", "57014")
# Of these the message names tables and columns; of others it may quote a tenant's data.
_TOLD = "42"
_LOCKED = "55P03"
_TELLS = 300
_OPERATION_S = 1.0


class Outcome(StrEnum):
    DONE = "done"
    # Somebody else has it, or it is not due any more.
    MISSED = "missed"
    # As many transactions are under way as may be.
    NO_PLACE = "no_place"
    PUT_OFF = "put_off"
    SKIPPED = "skipped"
    FAILED = "failed"
    # A part was done; the rest is due at once.
    PART = "part"
    # Nothing was done: only Alembic itself can.
    NEEDS_ONLINE = "needs_online"


async def nowhere(_place: str) -> None:
    """The failpoint of a worker that is not under test."""


@dataclass(frozen=True)
class Upgrader:
    """Upgrades targets, one at a time or many at once. `failpoint` is told of every place that a
    transaction comes by; tests die there."""

    database: AsyncEngine
    installation: UUID
    way: Way
    failpoint: Failpoint = nowhere

    async def one(
        self, rollout: Rollout, tenant_id: UUID, *, tried: DBAPIError | None = None
    ) -> Outcome:
        """Raises DBAPIError where the connection is lost: before or after, never in between. What an
        upgrade was `tried` in vain with is entered as if it were met again."""
        async with self.database.connect() as conn:
            async with conn.begin():
                outcome = await self._one(conn, rollout, tenant_id, tried)
                await self.failpoint("before-commit")
            await self.failpoint("after-commit")
        return outcome

    async def _one(
        self,
        conn: AsyncConnection,
        rollout: Rollout,
        tenant_id: UUID,
        tried: DBAPIError | None,
    ) -> Outcome:
        held, heads, refused = await self._hold(conn, rollout, tenant_id)
        await self.failpoint("held")
        if held is None:
            return Outcome.MISSED
        if held.place is None:
            return Outcome.NO_PLACE
        course = decide.course(
            held.state,
            revision=held.revision,
            operation=held.operation,
            parked=held.parked,
            frozen=held.frozen,
        )
        match course:
            case Skip(reason):
                await journal.skip(conn, rollout.id, tenant_id, reason)
                return Outcome.SKIPPED
            case Later(reason):
                await journal.wait(
                    conn,
                    rollout.id,
                    tenant_id,
                    after_s=_OPERATION_S,
                    code="operation_in_progress",
                    detail=reason,
                    tried=False,
                )
                return Outcome.PUT_OFF
            case Refuse(code, detail):
                await driver.rows_of_each(conn, BACK)
                return await _fail(conn, rollout, tenant_id, code, detail)
        return await self._upgrade(conn, rollout, tenant_id, held, heads, tried=refused or tried)

    async def _hold(
        self, conn: AsyncConnection, rollout: Rollout, tenant_id: UUID
    ) -> tuple[Held | None, str | None, DBAPIError | None]:
        """Hold the target and ask its schema for its revision, in one message; that is empty where
        somebody else has it locked, with the error."""
        await statements.prepare(conn)
        message = journal.hold_message(rollout, tenant_id, installation=self.installation)
        asks = f"{statements.limits(rollout.policy)};\n{enter(tenant_id)};\n{HEADS}"
        try:
            answers = await driver.rows_of_each(conn, f"{message};\n{asks}")
        except DBAPIError as error:
            # The control plane's own tables are there, are not forbidden, and their rows passed over.
            if not (sqlstate(error) or "").startswith((_TOLD, _LOCKED)):
                raise
            await driver.rows_of_each(conn, BACK)
            held = await journal.hold(conn, rollout, tenant_id, installation=self.installation)
            return (held, "", error) if sqlstate(error) == _LOCKED else (held, None, None)
        return journal.held(answers), answers[-1][0][0], None

    async def _upgrade(
        self,
        conn: AsyncConnection,
        rollout: Rollout,
        tenant_id: UUID,
        held: Held,
        heads: str | None,
        *,
        tried: DBAPIError | None,
    ) -> Outcome:
        if not held.ours or heads is None:
            await driver.rows_of_each(conn, BACK)
            detail = "The tenant's schema is missing, has no revision or is not ours; look at it."
            return await _fail(conn, rollout, tenant_id, "schema_missing", detail)
        if tried is not None:
            await driver.rows_of_each(conn, BACK)
            return await _database_failed(conn, rollout, tenant_id, held.attempt + 1, tried)
        try:
            await self.way.prepare(heads, to=_aim(rollout))
            return await self._go(conn, rollout, tenant_id, heads)
        except RevisionNeedsOnline:
            return Outcome.NEEDS_ONLINE
        except (TemplateInvalid, RevisionFailed) as error:
            await driver.rows_of_each(conn, BACK)
            return await _fail(conn, rollout, tenant_id, error.code, str(error))
        except DBAPIError as error:
            if error.connection_invalidated or sqlstate(error) is None:
                raise
            await driver.rows_of_each(conn, BACK)
            return await _database_failed(conn, rollout, tenant_id, held.attempt + 1, error)

    async def _go(
        self, conn: AsyncConnection, rollout: Rollout, tenant_id: UUID, heads: str
    ) -> Outcome:
        limits = statements.limits(rollout.policy)
        done = journal.done_message(rollout, tenant_id, before=heads)
        if rollout.policy.back:
            await positions.forget(conn, tenant_id)
        if heads == rollout.revision:
            found: str | None = last(await driver.rows_of_each(conn, f"{limits};\n{done}"))
        else:
            found = await self.way.go(
                conn, tenant_id, heads=heads, to=_aim(rollout), limits=limits, done=done
            )
        await self.failpoint("upgraded")
        if found is None:
            return Outcome.PART
        if found != rollout.revision:
            raise RevisionFailed(f"The schema is at {found} after the upgrade; look at it.")
        return Outcome.DONE


def _aim(rollout: Rollout) -> str | None:
    return rollout.revision if rollout.policy.back else None


def sqlstate(error: DBAPIError) -> str | None:
    """What PostgreSQL says of it; None where the connection is lost."""
    return error.orig.sqlstate if isinstance(error.orig, DriverError) else None


async def _fail(
    conn: AsyncConnection, rollout: Rollout, tenant_id: UUID, code: str, detail: str
) -> Outcome:
    log.warning("rollout_target_failed", rollout=str(rollout.id), tenant=str(tenant_id), code=code)
    await journal.fail(conn, rollout.id, tenant_id, code, detail)
    return Outcome.FAILED


async def _database_failed(
    conn: AsyncConnection, rollout: Rollout, tenant_id: UUID, attempt: int, error: DBAPIError
) -> Outcome:
    code, detail = told(error)
    if (sqlstate(error) or "").startswith(_PASSING) and attempt < rollout.policy.attempts:
        await journal.wait(
            conn,
            rollout.id,
            tenant_id,
            after_s=decide.wait_s(attempt),
            code=code,
            detail=detail,
            tried=True,
        )
        return Outcome.PUT_OFF
    return await _fail(conn, rollout, tenant_id, code, detail)


def told(error: DBAPIError) -> tuple[str, str]:
    """What may be shown of a database's error: a code and one line."""
    kind, state = type(error.orig).__name__, sqlstate(error) or ""
    if state.startswith(_TOLD) and isinstance(error.orig, DriverError):
        return "sql_failed", f"{kind}: {error.orig.diag.message_primary}"[:_TELLS]
    if state == _LOCKED:
        return "lock_not_available", "A table of the tenant's was in use for too long."
    return "sql_failed", f"PostgreSQL refused it ({kind}, {state}{_place(error)})."


def _place(error: DBAPIError) -> str:
    """The names of what a row did not agree with; its message may quote the row where a trigger wrote it."""
    if not isinstance(error.orig, DriverError):
        return ""
    diag = error.orig.diag
    thing = diag.constraint_name or diag.column_name
    return f", {thing} of {diag.table_name}"[:_TELLS] if thing and diag.table_name else ""
