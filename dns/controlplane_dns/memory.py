"""A zone in memory, for tests and for trying things out."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from controlplane.domain.dns import OwnedRecord, Propagation, Record
from controlplane.domain.naming import Mark, Subdomain
from controlplane.errors import DnsConflict
from controlplane_dns.values import canonical


@dataclass
class Fault:
    """Makes the next `times` calls of a method raise, before or after they take effect. `method` may
    be several, with spaces between."""

    method: str
    error: Exception
    after_effect: bool = False
    times: int = 1


class MemoryDns:
    """All its state may be looked at: `records` (by name, of every installation), `foreign`,
    `faults` (still to come) and `calls` (method and name, in order).

    A change stays PENDING for the first `pending` questions about it.
    """

    per_tenant: ClassVar[bool] = True

    def __init__(self, *, pending: int = 0) -> None:
        self.pending = pending
        self.records: dict[Subdomain, OwnedRecord] = {}
        self.foreign: dict[str, str] = {}
        self.faults: list[Fault] = []
        self.calls: list[tuple[str, str]] = []
        self._still_pending: dict[str, int] = {}

    def place_foreign(self, name: str, value: str = "192.0.2.1") -> None:
        """Puts a record there that carries no mark."""
        self.foreign[name.lower()] = value

    async def ensure(self, record: Record, mark: Mark) -> str:
        self._begin("ensure", record.name)
        wanted = OwnedRecord(canonical(record), mark)
        self._refuse_taken(record.name, mark)
        if self.records.get(record.name) != wanted:
            self.records[record.name] = wanted
            self._still_pending[self._reference(wanted)] = self.pending
        self._fail("ensure", after_effect=True)
        return self._reference(wanted)

    async def absent(self, record: Record, mark: Mark) -> None:
        self._begin("absent", record.name)
        present = self.records.get(record.name)
        if present and mark.same_tenant(present.mark):
            del self.records[record.name]
        self._fail("absent", after_effect=True)

    async def find(self, record: Record, mark: Mark) -> bool:
        self._begin("find", record.name)
        present = self.records.get(record.name)
        return (
            present is not None
            and present.record == canonical(record)
            and mark.same_tenant(present.mark)
        )

    async def propagation(self, reference: str) -> Propagation:
        self._begin("propagation", reference)
        left = self._still_pending.get(reference)
        if left is None:
            return Propagation.FAILED
        self._still_pending[reference] = max(0, left - 1)
        return Propagation.PENDING if left else Propagation.INSYNC

    async def owned(self, installation: UUID) -> AsyncIterator[OwnedRecord]:
        self._begin("owned", str(installation))
        for owned in list(self.records.values()):
            if owned.mark.installation == installation:
                yield owned

    def _begin(self, method: str, subject: str) -> None:
        self.calls.append((method, subject))
        self._fail(method, after_effect=False)

    def _fail(self, method: str, *, after_effect: bool) -> None:
        for fault in self.faults:
            if method in fault.method.split() and fault.after_effect is after_effect:
                fault.times -= 1
                if not fault.times:
                    self.faults.remove(fault)
                raise fault.error

    def _refuse_taken(self, name: Subdomain, mark: Mark) -> None:
        present = self.records.get(name)
        if name in self.foreign or (present and not mark.same_tenant(present.mark)):
            raise DnsConflict(f"The name '{name}' is held by a record that is not this tenant's.")

    @staticmethod
    def _reference(owned: OwnedRecord) -> str:
        return f"{owned.record.name}/{owned.mark.operation}"
