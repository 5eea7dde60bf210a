"""Rows for the audit log that no answer waits for, and that nobody can make too many of."""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from math import inf
from time import monotonic

import structlog
from prometheus_client import CollectorRegistry, Counter
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from controlplane.store import refusals
from controlplane.store.refusals import Refusal
from controlplane.web.audit_budget import AuditBudget

log = structlog.get_logger()

_WRITE_S = 5.0
_SHORTEST_REST_S = 0.5
_LONGEST_REST_S = 30.0
_BATCH = 50
# Rows in the logs of others that one tenant's tokens may cause in a minute: at as many hosts as there
# are, one token would else crowd out all that is told of anybody.
_CAUSED = 100


class AuditQueue:
    """Writes what is offered, in the background and as the control login: at most `_BATCH` rows in
    `pace_s` seconds, and of each tenant what its budget allows.

    While the database is away the first `size` rows wait; what comes later is dropped, and counted.
    The task runs only while there is something to write.
    """

    def __init__(
        self,
        control: AsyncEngine,
        *,
        registry: CollectorRegistry,
        budget: AuditBudget | None = None,
        size: int = 1_000,
        pace_s: float = 1.0,
    ) -> None:
        self._control = control
        self._budget = budget or AuditBudget()
        self._caused = AuditBudget(rows=_CAUSED)
        self._size = size
        self._pace_s = pace_s
        self._rows: deque[tuple[Refusal, float]] = deque()
        self._woken, self._closing = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._counted = Counter(
            "controlplane_isolation_audit_rows",
            "Rows of the audit log about violations: written, left to a sum, or dropped.",
            ["outcome"],
            registry=registry,
        )
        for outcome in ("written", "summed", "dropped"):
            self._counted.labels(outcome)

    def offer(self, refusal: Refusal) -> None:
        """Have the row written, or counted. Neither waits nor raises."""
        now = monotonic()
        if self._may_be_written(refusal, now):
            self._keep(refusal, now)
        else:
            self._counted.labels("summed").inc()
        self._wake()

    def _may_be_written(self, refusal: Refusal, now: float) -> bool:
        whose, cause = refusal.tenant_id, refusal.cause
        # Where it would be counted only, it takes nothing of the cause's.
        if (
            cause is not None
            and self._budget.has_room(whose, now)
            and not self._caused.take(cause, refusal.action, now)
        ):
            return False
        return self._budget.take(whose, refusal.action, now)

    async def close(self) -> None:
        """Write what is left and the sums, as far as the database takes it in a few seconds."""
        self._closing.set()
        self._woken.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=2 * _WRITE_S)
            self._task.cancel()
        self._drop(len(self._rows))
        self._rows.clear()

    def _keep(self, refusal: Refusal, now: float) -> None:
        if len(self._rows) < self._size:
            self._rows.append((refusal, now))
        else:
            self._drop(1)

    def _drop(self, rows: int) -> None:
        self._counted.labels("dropped").inc(rows)
        if rows:
            log.error("audit_rows_dropped", rows=rows)

    def _wake(self) -> None:
        self._woken.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        failures = 0
        while not (failures and self._closing.is_set()):
            self._woken.clear()
            self._sum_up(inf if self._closing.is_set() else monotonic())
            if self._rows:
                batch = list(islice(self._rows, _BATCH))
                failures = 0 if await self._write(batch) else failures + 1
                await _until(self._closing, self._rest_s(len(batch), failures))
            elif (ends := self._next_end()) is not None:
                await _until(self._woken, ends - monotonic())
            else:
                return

    def _rest_s(self, rows: int, failures: int) -> float:
        if not failures:
            return self._pace_s * rows / _BATCH
        # No further than that is doubled: the numbers would not fit.
        return min(_LONGEST_REST_S, _SHORTEST_REST_S * 2.0 ** min(failures, 10))

    def _next_end(self) -> float | None:
        ends = (self._budget.next_end(), self._caused.next_end())
        return min((end for end in ends if end is not None), default=None)

    def _sum_up(self, now: float) -> None:
        for budget, which in (
            (self._budget, "not_written"),
            (self._caused, "not_written_of_others"),
        ):
            for tenant_id, rest in budget.ended(now):
                told = {"window_s": budget.window_s, which: rest}
                self._keep(Refusal(tenant_id, "isolation.more", told), monotonic())

    async def _write(self, batch: Sequence[tuple[Refusal, float]]) -> bool:
        """Whether the rows, the first of the queue, are off it."""
        try:
            async with asyncio.timeout(_WRITE_S), self._control.begin() as conn:
                now = monotonic()
                aged = [(refusal, now - seen) for refusal, seen in batch]
                written = await refusals.append(conn, aged)
        except (DataError, IntegrityError) as error:
            # It would be refused again, and hold up all the others.
            log.error("audit_rows_refused", error=type(error).__name__)  # noqa: TRY400  no secrets of a row
            written = 0
        except (SQLAlchemyError, TimeoutError, OSError) as error:
            log.warning("audit_rows_wait", error=type(error).__name__, rows=len(self._rows))
            return False
        for _ in batch:
            self._rows.popleft()
        self._counted.labels("written").inc(written)
        self._drop(len(batch) - written)
        return True


async def _until(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, but no longer."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
