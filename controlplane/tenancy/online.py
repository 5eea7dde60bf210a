"""The slower path: Alembic itself, in a process of its own, for revisions that read rows.

`alembic.op` belongs to a whole process, so no thread of a serving process may run it. The child
keeps the revisions loaded from one tenant to the next.
"""

import asyncio
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Self
from uuid import UUID

from controlplane.tenancy.template import Template
from controlplane.tenancy.upgrade import LOCK_TIMEOUT_MS


class Migrations:
    """A context manager around the child process. One upgrade runs at a time."""

    def __enter__(self) -> Self:
        # Spawned: a forked child would inherit connections and locks of this process.
        context = multiprocessing.get_context("spawn")
        self._child = ProcessPoolExecutor(max_workers=1, mp_context=context)
        return self

    def __exit__(self, *_: object) -> None:
        self._child.shutdown()

    async def upgrade(
        self,
        *,
        url: str,
        tenant_id: UUID,
        template: Template,
        lock_timeout_ms: int = LOCK_TIMEOUT_MS,
    ) -> str:
        """Upgrade the tenant in one transaction of its own; returns the revision.

        `url` is the owner's login. The caller records the revision afterwards: a crash between
        the two leaves the schema ahead of the catalog, and a second run finds nothing to do.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._child, _upgrade, url, tenant_id, template, lock_timeout_ms
        )


def _upgrade(url: str, tenant_id: UUID, template: Template, lock_timeout_ms: int) -> str:
    from controlplane.tenancy import alembic_run  # noqa: PLC0415  only the child imports Alembic

    return alembic_run.upgrade(
        url=url, tenant_id=tenant_id, template=template, lock_timeout_ms=lock_timeout_ms
    )
