"""The level-triggered net below the leases: takes up again what was parked for a passing reason,
and has removed what nobody owns."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from controlplane.domain.drift import Finding, repairable
from controlplane.errors import InvalidState, StepError
from controlplane.ports import DnsProvider
from controlplane.provisioning import reconcile, requests
from controlplane.provisioning.waiting import first_of
from controlplane.store import changes, findings, holds, idempotency, ratelimit
from controlplane.store.audit import Actor

log = structlog.get_logger()

_ACTOR = Actor(None, "operation")
_LOCK = "controlplane/reaper"
# A provider that forgot everything must not bury what people ask for under repairs.
_AT_ONCE = 20

# `resumed` stands beside `parked` in the error: it must outlive the next parking. Since the last
# try (run_at: the last claim's, plus its back-off) 1, 2, 4 … 60 minutes must have gone by.
_PARKED = text("""
WITH parked AS (
  SELECT id, run_at, coalesce((error->>'resumed')::int, 0) AS resumed
  FROM public.operations
  WHERE state = 'parked' AND (error->'parked'->>'retriable')::boolean
)
SELECT id FROM parked
WHERE resumed = 0 OR run_at <= clock_timestamp()
  - least(power(2, least(resumed - 1, 6)), 60) * interval '1 minute'
ORDER BY run_at
""")
_COUNT = text("""
UPDATE public.operations
SET error = jsonb_set(error, '{resumed}', to_jsonb(coalesce((error->>'resumed')::int, 0) + 1))
WHERE id = :id
""")


@dataclass
class Reaper:
    """Sweeps every `every_s` seconds until told to stop. Any number of workers may do so at once;
    what they write, they write one after the other. `newest` is the template's revision."""

    database: AsyncEngine
    installation: UUID
    dns: DnsProvider
    dns_target: str
    deadline_s: float
    newest: str | None = None
    every_s: float = 60.0
    _before: frozenset[Finding] = field(default=frozenset(), repr=False)

    async def run(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            await first_of(stopping, timeout_s=self.every_s)
            if not stopping.is_set():
                await self.sweep()

    async def sweep(self) -> int:
        """Set right what can be; how many operations go on or begin by it."""
        return await self._turn(self._resume) + await self._turn(self._reconcile)

    async def _turn(self, work: Callable[[], Awaitable[int]]) -> int:
        try:
            return await work()
        except (DBAPIError, StepError) as error:
            name = type(error.orig if isinstance(error, DBAPIError) else error).__name__
            log.warning("sweep_failed", error=name)
            return 0

    async def _resume(self) -> int:
        """Resume what was parked by a failure that may have passed; forget what is over."""
        async with self.database.begin() as conn:
            if not await _alone(conn):
                return 0
            parked = (await conn.execute(_PARKED)).scalars().all()
            resumed = [await _resume(conn, operation_id) for operation_id in parked]
            await idempotency.forget_expired(conn)
            await holds.forget_expired(conn)
            await changes.forget_old(conn)
            await ratelimit.forget_expired(conn)
        return sum(resumed)

    async def _reconcile(self) -> int:
        """Repair what was found twice in a row: once may be an operation in flight."""
        async with self.database.connect() as conn:
            looked_at = await findings.now(conn)
        found = await reconcile.look(
            self.database,
            installation=self.installation,
            dns=self.dns,
            dns_target=self.dns_target,
            newest=self.newest,
        )
        async with self.database.begin() as conn:
            await findings.keep(conn, found, looked_at=looked_at)
        lasting = [finding for finding in found if finding in self._before]
        for finding in found:
            if finding not in self._before:
                log.warning("drift", **_told(finding))
        self._before = frozenset(found)
        if not repairable(lasting):
            return 0
        async with self.database.begin() as conn:
            if not await _alone(conn):
                return 0
            started = await reconcile.repair(
                conn, lasting, actor=_ACTOR, deadline_s=self.deadline_s, at_most=_AT_ONCE
            )
        return len(started)


async def _resume(conn: AsyncConnection, operation_id: UUID) -> int:
    try:
        await requests.resume(conn, operation_id, actor=_ACTOR)
    except InvalidState:
        return 0  # an operator was faster
    await conn.execute(_COUNT, {"id": operation_id})
    return 1


async def _alone(conn: AsyncConnection) -> bool:
    """Whether no other sweep writes until this transaction's end."""
    lock = select(func.pg_try_advisory_xact_lock(func.hashtextextended(_LOCK, 0)))
    return bool((await conn.execute(lock)).scalar_one())


def _told(finding: Finding) -> dict[str, str]:
    return {
        "kind": finding.kind,
        "subject": finding.subject,
        "tenant": str(finding.tenant_id),
        "detail": finding.detail,
    }
