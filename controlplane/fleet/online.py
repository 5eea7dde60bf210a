"""The slower way: targets whose revisions read rows, upgraded by Alembic in a process of its own.

`alembic.op` belongs to a whole process, so no thread of a worker may run it. The child does with a
target what the worker does, in one transaction of its own, and keeps the revisions from one target
to the next.
"""

import asyncio
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from time import monotonic
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from controlplane.errors import ControlPlaneError, DatabaseUnavailable, RevisionFailed
from controlplane.fleet import parts, statements
from controlplane.fleet.upgrading import Outcome, Upgrader
from controlplane.store import driver, positions
from controlplane.store.rollouts import Rollout
from controlplane.store.urls import sqlalchemy_url
from controlplane.tenancy.scope import send
from controlplane.tenancy.template import Template

# For so long the batches of one tenant follow each other before another has its turn.
_TURN_S = 2.0
# A backfill may compute for long between two statements; a frozen child must end some day.
_SESSION = "-c idle_in_transaction_session_timeout=10min -c client_connection_check_interval=2s"


@dataclass(frozen=True)
class ByAlembic:
    """Runs every revision that is missing, the compiled ones too."""

    template: Template

    async def prepare(self, heads: str, *, to: str | None) -> None:
        """Everything that there is leads there."""

    def script(self, tenant_id: UUID, *, heads: str, to: str | None) -> None:
        """There is Python to be run."""

    async def go(
        self,
        conn: AsyncConnection,
        tenant_id: UUID,
        *,
        heads: str,
        to: str | None,
        limits: str,
        done: str,
    ) -> str | None:
        from controlplane.tenancy import alembic_run  # noqa: PLC0415  only the child imports Alembic

        del heads
        await send(conn, limits)
        running = conn.run_sync(
            alembic_run.go_on,
            tenant_id=tenant_id,
            template=self.template,
            to=None if to is None else tuple(to.split(",")),
            positions=await positions.of_tenant(conn, tenant_id),
        )
        # Gathered: a revision's own Python may raise whatever it likes.
        (part,) = await asyncio.gather(running, return_exceptions=True)
        if isinstance(part, ControlPlaneError | DBAPIError):
            raise part
        if isinstance(part, BaseException):
            raise RevisionFailed(f"A revision raised {type(part).__name__}.") from part
        if part.whole:
            await positions.forget(conn, tenant_id)
            found: str = (await driver.rows_of_each(conn, done))[-1][0][0]
            return found
        await send(conn, statements.SETTLE)
        await parts.enter(conn, tenant_id, part.revision, part.position)
        return None


class OnlineUpgrades:
    """A context manager around the child, which is started when it is first needed."""

    def __init__(self, *, url: str, installation: UUID, template: Template) -> None:
        self._given = (url, installation, template)
        self._child: ProcessPoolExecutor | None = None

    async def one(self, rollout: Rollout, tenant_id: UUID) -> Outcome:
        """Raises BrokenProcessPool where the child has died, and what Upgrader.one does."""
        if self._child is None:
            # Spawned: a forked child would inherit connections and locks of this process.
            context = multiprocessing.get_context("spawn")
            self._child = ProcessPoolExecutor(max_workers=1, mp_context=context)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(
                self._child, _upgrade, *self._given, rollout, tenant_id
            )
        except BrokenProcessPool:
            self.close()
            raise

    def close(self) -> None:
        """End the child, whatever it does: what it had begun is rolled back."""
        child, self._child = self._child, None
        if child is None:
            return
        for process in list((child._processes or {}).values()):  # noqa: SLF001  public from Python 3.14 on
            process.terminate()
        child.shutdown(wait=True, cancel_futures=True)


def _upgrade(
    url: str, installation: UUID, template: Template, rollout: Rollout, tenant_id: UUID
) -> Outcome:
    try:
        return asyncio.run(_one(url, installation, template, rollout, tenant_id))
    except SystemExit:
        # Of a revision: it would end the worker as well.
        os._exit(1)


async def _one(
    url: str, installation: UUID, template: Template, rollout: Rollout, tenant_id: UUID
) -> Outcome:
    engine = create_async_engine(
        sqlalchemy_url(url),
        pool_size=1,
        hide_parameters=True,
        connect_args={"options": _SESSION},
    )
    try:
        return await _parts(Upgrader(engine, installation, ByAlembic(template)), rollout, tenant_id)
    except DBAPIError as error:
        # A driver's error cannot travel from one process to another.
        raise DatabaseUnavailable(
            f"The connection was lost ({type(error.orig).__name__})."
        ) from None
    finally:
        await engine.dispose()


async def _parts(upgrader: Upgrader, rollout: Rollout, tenant_id: UUID) -> Outcome:
    """One transaction after the other: whoever pauses the rollout is heeded between two."""
    until = monotonic() + _TURN_S
    while True:
        outcome = await upgrader.one(rollout, tenant_id)
        if outcome is not Outcome.PART or monotonic() >= until:
            return outcome
