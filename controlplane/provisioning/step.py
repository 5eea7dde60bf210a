"""What a step is. Four uses of one implementation: provision is `ensure` in order, rollback and
deprovision are `absent` in reverse, repair is `observe` and `ensure`."""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.naming import Mark
from controlplane.domain.tenants import Tenant


@dataclass(frozen=True)
class Target:
    """What a step works on. `output` is what its last call returned, kept across workers."""

    tenant: Tenant
    mark: Mark
    params: dict[str, Any]
    output: dict[str, Any] | None

    @property
    def operation_id(self) -> UUID:
        return self.mark.operation


@dataclass(frozen=True)
class Later:
    """Not there yet: let go of the operation and call again after so many seconds.

    Bounded by the deadlines of step and operation; `output` is handed to the next call. What a
    local step has done so far is committed with it, so that others have their turn in between.
    `reason` is shown at the tenant: why the step's condition does not hold yet. `queued`: for its
    turn at a provider; it is called exactly then, and that time is not counted towards its deadline.
    """

    after_s: float
    output: dict[str, Any] | None = None
    reason: str | None = None
    queued: bool = False


Output = dict[str, Any] | None


class Step(Protocol):
    """Common to both kinds. Every method may run any number of times, in any order, and must
    leave the same world; failures are Permanent or Transient (controlplane.errors)."""

    # The tenant's condition that holds once this step is done, and no longer once it is undone.
    condition: ClassVar[str | None]
    # The kind under which the step's effect stands in the inventory of the tenant's resources.
    resource: ClassVar[str | None]

    def external_id(self, target: Target) -> str:
        """The name of that resource. Pure."""
        ...


class LocalStep(Step, Protocol):
    """Takes effect inside the transaction that also holds the fence and the journal."""

    async def ensure(self, tx: AsyncConnection, target: Target) -> Output | Later: ...
    async def absent(self, tx: AsyncConnection, target: Target) -> Output | Later: ...
    async def observe(self, tx: AsyncConnection, target: Target) -> bool:
        """Whether the effect is there, now."""
        ...


class RemoteStep(Step, Protocol):
    """Takes effect outside; its intent is written before. A call is cut off after the time that
    the lease allows, and may have taken effect all the same."""

    async def ensure(self, target: Target) -> Output | Later: ...
    async def absent(self, target: Target) -> Output | Later: ...
    async def observe(self, target: Target) -> bool:
        """Whether the effect is there, now."""
        ...


class Plain:
    """A step that neither makes a condition hold nor stands in the inventory."""

    condition: ClassVar[str | None] = None
    resource: ClassVar[str | None] = None

    def external_id(self, target: Target) -> str:
        return str(target.tenant.id)


class OneWay(Plain):
    """A local step that lies on or behind a pivot, and so is never undone."""

    async def absent(self, _tx: AsyncConnection, _target: Target) -> Output:
        raise AssertionError("BUG: what lies behind a pivot is not undone")
