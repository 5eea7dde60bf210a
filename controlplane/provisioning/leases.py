"""Keeps the leases of one worker alive, from a thread of its own: a busy event loop cannot lose
them, and a stalled one cannot keep them."""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from uuid import UUID

import psycopg
import structlog

from controlplane.domain.operations import Operation
from controlplane.errors import LeaseLost

log = structlog.get_logger()

# SKIP LOCKED: the worker's own commit may hold the row for a moment; the next beat will do.
_BEAT = """
WITH mine AS (
  SELECT o.id FROM public.operations o
  JOIN unnest(%(ids)s::uuid[], %(epochs)s::bigint[]) AS held (id, epoch) USING (id, epoch)
  WHERE o.lease_owner IS NOT NULL AND o.finished_at IS NULL
  FOR NO KEY UPDATE OF o SKIP LOCKED
)
UPDATE public.operations o SET lease_expires_at = clock_timestamp() + make_interval(secs => %(ttl)s)
FROM mine WHERE o.id = mine.id RETURNING o.id
"""
_STILL_OURS = """
SELECT o.id FROM public.operations o
JOIN unnest(%(ids)s::uuid[], %(epochs)s::bigint[]) AS held (id, epoch) USING (id, epoch)
"""


@dataclass(frozen=True)
class Timing:
    """Seconds. A call must fit into what is left of the lease, less the margin."""

    lease_s: float = 30.0
    beat_s: float = 10.0
    call_s: float = 8.0
    margin_s: float = 2.0
    poll_s: float = 1.0
    # After this long without a turn of the event loop the process ends itself.
    stall_s: float = 60.0
    # Every wait before another try is multiplied by this.
    wait_factor: float = 1.0

    @property
    def undone_for(self) -> timedelta:
        """For so long after an undo a worker may not know of it: a call that it had begun."""
        return timedelta(seconds=self.call_s + self.lease_s + self.margin_s)


@dataclass
class Lease:
    """One held operation. `on_lost` runs in the heartbeat's thread."""

    operation: Operation
    until: float
    on_lost: Callable[[], None]

    def budget_s(self, timing: Timing) -> float:
        """Seconds that a remote call may take. Raises LeaseLost when none are left."""
        left = min(timing.call_s, self.until - monotonic() - timing.margin_s)
        if left <= 0:
            raise LeaseLost(f"The lease of operation {self.operation.id} is about to expire.")
        return left


@dataclass
class Heartbeat:
    """Renews every lease that was added, each `beat_s`. Start it once, stop it at the end.

    One thread talks to the database, another looks at the clock: an answer that never comes must
    not keep a lease that has run out.
    """

    url: str
    timing: Timing
    _leases: dict[UUID, Lease] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _turned: float = field(default_factory=monotonic)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        self._turned = monotonic()
        for act in (self._renew, self._watch):
            thread = threading.Thread(target=self._each_beat, args=[act], daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Blocks for the length of one database call at most."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=self.timing.call_s)

    def add(self, operation: Operation, on_lost: Callable[[], None], *, claimed: float) -> Lease:
        """Keep an operation's lease; `claimed` is the monotonic time just before its claim."""
        lease = Lease(operation, claimed + self.timing.lease_s, on_lost)
        with self._lock:
            self._leases[operation.id] = lease
        return lease

    def remove(self, lease: Lease) -> None:
        with self._lock:
            if self._leases.get(lease.operation.id) is lease:
                del self._leases[lease.operation.id]

    def loop_turned(self) -> None:
        """Called from the event loop now and then; see `Timing.stall_s`."""
        self._turned = monotonic()

    def _each_beat(self, act: Callable[[list[Lease]], None]) -> None:
        while not self._stop.wait(self.timing.beat_s):
            with self._lock:
                leases = list(self._leases.values())
            act(leases)

    def _watch(self, leases: list[Lease]) -> None:
        if monotonic() - self._turned > self.timing.stall_s:
            os._exit(70)  # another worker takes over; a frozen one must not hold on
        for lease in leases:
            if lease.until - self.timing.margin_s <= monotonic():
                self._lose(lease)

    def _renew(self, leases: list[Lease]) -> None:
        if leases:
            self._beat(leases)

    def _beat(self, leases: list[Lease]) -> None:
        begun = monotonic()
        held = {
            "ids": [lease.operation.id for lease in leases],
            "epochs": [lease.operation.epoch for lease in leases],
            "ttl": self.timing.lease_s,
        }
        wait = max(1, int(self.timing.call_s))
        try:
            options = f"-c statement_timeout={wait}s"
            with psycopg.connect(
                self.url, autocommit=True, connect_timeout=wait, options=options
            ) as conn:
                renewed = {row[0] for row in conn.execute(_BEAT, held)}
                ours = {row[0] for row in conn.execute(_STILL_OURS, held)}
        except psycopg.Error as error:
            log.warning("heartbeat_failed", error=type(error).__name__)
            return
        for lease in leases:
            if lease.operation.id in renewed:
                lease.until = begun + self.timing.lease_s
            elif lease.operation.id not in ours:
                self._lose(lease)

    def _lose(self, lease: Lease) -> None:
        with self._lock:
            ours = self._leases.get(lease.operation.id) is lease
            if ours:
                del self._leases[lease.operation.id]
        if ours:
            log.warning("lease_lost", operation=str(lease.operation.id))
            lease.on_lost()
