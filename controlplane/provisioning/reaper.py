"""The level-triggered net below the leases: takes up again what was parked for a passing reason."""

import asyncio
from dataclasses import dataclass
from uuid import UUID

import structlog
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from controlplane.domain.operations import OperationState
from controlplane.errors import InvalidState
from controlplane.provisioning import requests
from controlplane.provisioning.waiting import first_of
from controlplane.store.audit import Actor
from controlplane.store.tables import operations

log = structlog.get_logger()


@dataclass
class Reaper:
    """Sweeps every `every_s` until told to stop; any number of workers may do so at once."""

    database: AsyncEngine
    every_s: float = 60.0

    async def run(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            await first_of(stopping, timeout_s=self.every_s)
            if not stopping.is_set():
                await self.sweep()

    async def sweep(self) -> int:
        """Resume every operation that was parked by a failure that may have passed; how many."""
        parked = select(operations.c.id).where(
            operations.c.state == OperationState.PARKED,
            operations.c.error["parked"]["retriable"].as_boolean(),
        )
        try:
            async with self.database.connect() as conn:
                found = (await conn.execute(parked)).scalars().all()
            return sum([await self._resume(operation_id) for operation_id in found])
        except DBAPIError as error:
            log.warning("sweep_failed", error=type(error.orig).__name__)
            return 0

    async def _resume(self, operation_id: UUID) -> int:
        try:
            async with self.database.begin() as conn:
                await requests.resume(conn, operation_id, actor=Actor(None, "operation"))
        except InvalidState:
            return 0  # another worker was faster
        return 1
