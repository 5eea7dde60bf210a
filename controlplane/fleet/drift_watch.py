"""The loop of a worker that compares tenants' schemas with the template now and then."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from controlplane.errors import ControlPlaneError
from controlplane.fleet import drift
from controlplane.fleet.drift import Report
from controlplane.provisioning.waiting import first_of
from controlplane.store import structure_looks
from controlplane.tenancy.template import Template

log = structlog.get_logger()

# What is kept of a look; beyond it, the counts are whole.
_TENANTS, _DIFFERENCES = 200, 50
_ASKS_S = 60.0


@dataclass(frozen=True)
class DriftWatch:
    """Any number of workers may run it: one of them looks every `every_s` seconds, 0 for never.

    `database` is the owner's.
    """

    database: AsyncEngine
    installation: UUID
    app_login: str
    template: Template
    every_s: float

    async def run(self, stopping: asyncio.Event) -> None:
        """Returns when `stopping` is set; a look that is under way is broken off."""
        while self.every_s and not stopping.is_set():
            await first_of(stopping, timeout_s=min(self.every_s, _ASKS_S))
            if not stopping.is_set():
                await self._until(stopping)

    async def _until(self, stopping: asyncio.Event) -> None:
        looking = asyncio.create_task(self._turn())
        told = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({looking, told}, return_when=asyncio.FIRST_COMPLETED)
            if looking.done():
                await looking
        finally:
            for task in (looking, told):
                task.cancel()
            await asyncio.gather(looking, told, return_exceptions=True)

    async def _turn(self) -> None:
        try:
            await self.turn()
        except (SQLAlchemyError, ControlPlaneError) as error:
            name = type(error.orig if isinstance(error, DBAPIError) else error).__name__
            log.warning("drift_look_failed", error=name)

    async def turn(self) -> bool:
        """Look, if that is due; whether it was. Raises DBAPIError and TemplateInvalid."""
        async with self.database.begin() as conn:
            claimed = await structure_looks.claim(conn, every_s=self.every_s)
        if claimed is None:
            return False
        report = await drift.look(
            self.database,
            installation=self.installation,
            app_login=self.app_login,
            template=self.template,
            admins=True,
        )
        await self._keep(claimed, report)
        return True

    async def _keep(self, claimed: datetime, report: Report) -> None:
        apart = {one.id: one.differences[:_DIFFERENCES] for one in report.drifted[:_TENANTS]}
        lacking = report.without_admin[:_TENANTS]
        found = {
            tenant_id: ([each.to_json() for each in apart.get(tenant_id, ())], tenant_id in lacking)
            for tenant_id in (*apart, *lacking)
        }
        async with self.database.begin() as conn:
            await structure_looks.keep(
                conn,
                claimed,
                revision=report.revision,
                compared=report.looked_at,
                behind=report.behind,
                drifted=len(report.drifted),
                found=found,
            )
        for one in report.drifted:
            log.warning("schema_drifted", tenant=str(one.id), differences=len(one.differences))
