"""What the engine owes, told without it. Pure: it is fed with what was asked and with the places
that workers came by, and tells every tenant's state and how every operation ends."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

# From which states of an idle tenant each request is accepted.
ACCEPTED_FROM = {
    "again": {"failed"},
    "delete": {"active", "suspended", "failed"},
    "suspend": {"active"},
    "resume": {"suspended"},
    "restore": {"deleted"},
    # A purge that was abandoned has to be asked for again.
    "purge": {"deleted", "purging"},
    "repair": {"active", "suspended"},
    "welcome": {"active", "suspended"},
    "rename": {"active", "suspended"},
}
# The tenant's state from the request's own commit on, and behind each of these steps.
_AT_ONCE = {"provision": "provisioning", "deprovision": "deleting"}
_BEHIND = {
    "activate": "active",
    "retire": "deleted",
    "condemn": "purging",
    "bury": "purged",
    "suspend": "suspended",
    "serve": "active",
}
_PIVOTS = {*_BEHIND, "inspect", "welcome", "disown", "switch"} - {"bury"}
_ROLLED_BACK = {"provision": "failed"}
_DELETIONS = {"deprovision", "purge"}
_GONE = {"deleting", "deleted", "purging", "purged"}
_RELEASED = {"failed", "purged"}


# Whose record of a name may be there.
Inventory = Mapping[str, set[UUID]]


@dataclass
class Tenant:
    name: str
    state: str = ""


@dataclass
class Operation:
    """`came_from` is the tenant's state before it was asked for, `name` the one that it is to lead
    to the tenant; `epoch` counts the claims."""

    kind: str
    tenant: UUID
    came_from: str
    name: str
    epoch: int = 0
    cancelled: bool = False
    pivot: bool = False
    turned: str | None = None
    ended: str | None = None


@dataclass
class Model:
    """Both in the order in which they began. `held`: for whom a name is kept, by the reason."""

    tenants: dict[UUID, Tenant] = field(default_factory=dict)
    operations: dict[UUID, Operation] = field(default_factory=dict)
    held: dict[tuple[str, str], UUID] = field(default_factory=dict)

    def live(self, tenant: UUID | None = None) -> list[UUID]:
        """The operations that are not over; of one tenant there is one at most."""
        return [
            key
            for key, operation in self.operations.items()
            if operation.ended is None and tenant in {None, operation.tenant}
        ]

    def claim(self, name: str, tenant: UUID | None, inventory: Inventory) -> str:
        """Whether a tenant (None: a new one) may have a name: `accepted`, `taken`, `quarantined`."""
        having = {k for k, t in self.tenants.items() if t.name == name and t.state not in _RELEASED}
        having |= {self.operations[k].tenant for k in self.live() if self._reserves(k, name)}
        kept = {k for (kept, _), k in self.held.items() if kept == name} | inventory.get(
            name, set()
        )
        if having - {tenant}:
            return "taken"
        return "quarantined" if kept - {tenant} else "accepted"

    def _reserves(self, key: UUID, name: str) -> bool:
        operation = self.operations[key]
        return operation.kind == "rename" and not operation.pivot and operation.name == name

    def answer(self, ask: str, tenant: UUID, name: str, inventory: Inventory) -> str:
        """As `claim`, and `same` (the deletion that is under way or done), `busy`, `invalid`."""
        asked, live = self.tenants[tenant], self.live(tenant)
        deleting = live and self.operations[live[0]].kind in _DELETIONS
        if ask == "delete" and (deleting or (not live and asked.state in _GONE)):
            return "same"
        if live:
            return "busy"
        if asked.state not in ACCEPTED_FROM[ask]:
            return "invalid"
        if ask == "rename" and name == asked.name:
            return "unchanged"
        return self.claim(name, tenant, inventory) if ask in {"again", "rename"} else "accepted"

    def create(self, tenant: UUID, name: str, operation: UUID) -> None:
        self.tenants[tenant] = Tenant(name)
        self.began(operation, "provision", tenant)

    def began(self, operation: UUID, kind: str, tenant: UUID, name: str | None = None) -> None:
        asked = self.tenants[tenant]
        self.operations[operation] = Operation(kind, tenant, asked.state, name or asked.name)
        asked.state = _AT_ONCE.get(kind, asked.state)
        if kind == "provision":
            self._forget(tenant, asked.name)

    def _forget(self, tenant: UUID, name: str) -> None:
        for held, whose in list(self.held.items()):
            if held[0] == name and whose == tenant:
                del self.held[held]

    def may_cancel(self, operation: UUID) -> bool:
        asked = self.operations[operation]
        return asked.ended is None and (asked.cancelled or not (asked.turned or asked.pivot))

    def reached(self, key: UUID, place: str, *, failed: bool) -> None:
        """A worker came by a place; `failed`: one of its steps had failed for good before."""
        operation = self.operations[key]
        subject, name, where = place.split(":")
        if (subject, where) == ("step", "after-commit"):
            self._behind(operation, name)
        elif where == "after-unwind":
            operation.turned = "failed" if failed or not operation.cancelled else "cancelled"
        elif where == "after-finish":
            operation.ended = operation.turned or "succeeded"
            if operation.turned:
                self._give_back(operation)

    def _behind(self, operation: Operation, step: str) -> None:
        operation.pivot = operation.pivot or step in _PIVOTS
        tenant = self.tenants[operation.tenant]
        # A failed tenant has nothing to be condemned: it stays failed until it is buried.
        if step == "bury" and tenant.state != "failed":
            self.held[tenant.name, "released"] = operation.tenant
        if step in _BEHIND and (step, tenant.state) != ("condemn", "failed"):
            tenant.state = _BEHIND[step]
        if step == "switch":
            self.held[tenant.name, "released"] = operation.tenant
            self._forget(operation.tenant, operation.name)
            tenant.name = operation.name

    def abandoned(self, key: UUID) -> None:
        operation = self.operations[key]
        operation.ended = "abandoned"
        if not operation.pivot:
            self._give_back(operation)

    def _give_back(self, operation: Operation) -> None:
        back = _ROLLED_BACK.get(operation.kind, operation.came_from)
        self.tenants[operation.tenant].state = back
        if operation.kind in {"provision", "rename"}:
            self.held[operation.name, "undone"] = operation.tenant

    def outcome(self, key: UUID, zone: Mapping[str, UUID]) -> str:
        """How it ends if from now on nothing goes wrong. `zone`: whose the record of a name is."""
        operation = self.operations[key]
        if operation.ended or operation.turned:
            return operation.ended or operation.turned or ""
        if operation.pivot:
            return "succeeded"
        if operation.cancelled:
            return "cancelled"
        whose = zone.get(operation.name, operation.tenant)
        needs_it = operation.kind in {"provision", "restore", "rename"}
        return "failed" if needs_it and whose != operation.tenant else "succeeded"
