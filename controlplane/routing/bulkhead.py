"""No tenant holds more than its share of the connections."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from controlplane.errors import TenantBusy


@dataclass(frozen=True)
class Share:
    """`limit` transactions of a tenant at a time in one process, `waiting` more in line, each for
    at most `wait_s` seconds."""

    limit: int
    waiting: int
    wait_s: float

    def __post_init__(self) -> None:
        if self.limit < 1 or self.waiting < 0 or self.wait_s < 0:
            raise ValueError("a tenant needs a share of at least one, and cannot wait less than 0")

    def refuse_over(self, inside: int) -> None:
        if inside >= self.limit + self.waiting:
            raise self.busy()

    def busy(self) -> TenantBusy:
        return TenantBusy(f"The tenant has {self.limit} transactions under way already; try again.")


@dataclass
class _Lane:
    """One tenant's line. `inside` counts who waits and who works."""

    free: asyncio.Semaphore
    inside: int = 0


class Bulkhead:
    """Before the pool, so that who waits for his own tenant holds nothing that others wait for.

    Who is let in comes first out of his tenant's line. A transaction opened inside another of the
    same tenant counts twice. Raises ValueError for a share that lets nobody in.
    """

    def __init__(self, limit: int, *, waiting: int = 100, wait_s: float = 1.0) -> None:
        self._share = Share(limit, waiting, wait_s)
        self._lanes: dict[UUID, _Lane] = {}

    @asynccontextmanager
    async def slot(self, tenant_id: UUID) -> AsyncIterator[None]:
        """Raises TenantBusy where the line is too long, or did not move in time."""
        lane = self._lanes.setdefault(tenant_id, _Lane(asyncio.Semaphore(self._share.limit)))
        self._share.refuse_over(lane.inside)
        lane.inside += 1
        try:
            await self._enter(lane.free)
            try:
                yield
            finally:
                lane.free.release()
        finally:
            lane.inside -= 1
            if not lane.inside:
                del self._lanes[tenant_id]

    async def _enter(self, free: asyncio.Semaphore) -> None:
        if not free.locked():
            await free.acquire()
            return
        try:
            async with asyncio.timeout(self._share.wait_s):
                await free.acquire()
        except TimeoutError:
            raise self._share.busy() from None


@dataclass
class _SyncLane:
    free: threading.Semaphore
    inside: int = field(default=0)


class SyncBulkhead:
    """As Bulkhead, for threads; who is let in next is the operating system's choice."""

    def __init__(self, limit: int, *, waiting: int = 100, wait_s: float = 1.0) -> None:
        self._share = Share(limit, waiting, wait_s)
        self._lanes: dict[UUID, _SyncLane] = {}
        self._lock = threading.Lock()

    @contextmanager
    def slot(self, tenant_id: UUID) -> Iterator[None]:
        """Raises TenantBusy where the line is too long, or did not move in time."""
        lane = self._join(tenant_id)
        try:
            if not lane.free.acquire(timeout=self._share.wait_s):
                raise self._share.busy()
            try:
                yield
            finally:
                lane.free.release()
        finally:
            self._part(tenant_id, lane)

    def _join(self, tenant_id: UUID) -> _SyncLane:
        with self._lock:
            lane = self._lanes.get(tenant_id)
            if lane is None:
                lane = _SyncLane(threading.Semaphore(self._share.limit))
            self._share.refuse_over(lane.inside)
            self._lanes[tenant_id] = lane
            lane.inside += 1
            return lane

    def _part(self, tenant_id: UUID, lane: _SyncLane) -> None:
        with self._lock:
            lane.inside -= 1
            if not lane.inside:
                del self._lanes[tenant_id]
