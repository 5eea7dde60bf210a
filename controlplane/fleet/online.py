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
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from controlplane.errors import ControlPlaneError, DatabaseUnavailable, RevisionFailed
from controlplane.fleet.upgrading import Outcome, Upgrader
from controlplane.store import driver
from controlplane.store.rollouts import Rollout
from controlplane.store.urls import sqlalchemy_url
from controlplane.tenancy.scope import send
from controlplane.tenancy.template import Template

# A backfill may compute for long between two statements; a frozen child must end some day.
_SESSION = "-c idle_in_transaction_session_timeout=10min -c client_connection_check_interval=2s"


@dataclass(frozen=True)
class ByAlembic:
    """Runs every revision that is missing, the compiled ones too."""

    template: Template

    async def prepare(self, heads: str, *, to: str | None) -> None:
        """Everything that there is leads there."""

    async def go(
        self,
        conn: AsyncConnection,
        tenant_id: UUID,
        *,
        heads: str,
        to: str | None,
        limits: str,
        done: str,
    ) -> str:
        from controlplane.tenancy import alembic_run  # noqa: PLC0415  only the child imports Alembic

        del heads
        await send(conn, limits)
        running = conn.run_sync(
            alembic_run.upgrade_on,
            tenant_id=tenant_id,
            template=self.template,
            to=None if to is None else tuple(to.split(",")),
        )
        # Gathered: a revision's own Python may raise whatever it likes.
        (error,) = await asyncio.gather(running, return_exceptions=True)
        if isinstance(error, ControlPlaneError | DBAPIError):
            raise error
        if isinstance(error, BaseException):
            raise RevisionFailed(f"A revision raised {type(error).__name__}.") from error
        found: str = (await driver.rows_of_each(conn, done))[-1][0][0]
        return found


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
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={"options": _SESSION},
    )
    try:
        return await Upgrader(engine, installation, ByAlembic(template)).one(rollout, tenant_id)
    except DBAPIError as error:
        # A driver's error cannot travel from one process to another.
        raise DatabaseUnavailable(
            f"The connection was lost ({type(error.orig).__name__})."
        ) from None
    finally:
        await engine.dispose()
