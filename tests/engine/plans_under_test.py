"""How each plan is asked for. A new plan is covered by every harness once it is named here."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from controlplane.domain.operations import OperationState, Plan
from controlplane.provisioning import lifecycle
from controlplane.provisioning.plans import (
    DEPROVISION,
    PLANS,
    PROVISION,
    PURGE,
    REPAIR,
    RESTORE,
    RESUME,
    SUSPEND,
    WELCOME,
)
from controlplane.store.operations import OperationView
from tests.engine.faults import Failure
from tests.engine.lab import ACTOR, Lab

Ask = Callable[[Lab, UUID | None], Awaitable[OperationView]]


@dataclass(frozen=True)
class Scenario:
    """`prepare` makes what the plan needs; `ask` requests it, as often as it is called."""

    plan: Plan
    prepare: Callable[[Lab], Awaitable[UUID | None]]
    ask: Ask
    succeeded: str
    rolled_back: str
    # Mails in the outbox at the end, the bystander's included.
    mails: int
    # Where one plan has several.
    name: str = ""

    def __str__(self) -> str:
        return self.name or self.plan.kind

    @property
    def before_pivot(self) -> list[str]:
        """The steps that may fail or be undone: all up to the pivot, the pivot included."""
        return [step.name for step in self.plan.steps[: self.plan.pivot + 1]]

    @property
    def behind_pivot(self) -> list[str]:
        """The steps from which there is only the way forward."""
        return [step.name for step in self.plan.steps[self.plan.pivot + 1 :]]


# Steps that lie on or behind a pivot in every plan and so have no undo.
ONE_WAY = frozenset(
    ["activate", "retire", "condemn", "bury", "suspend", "serve", "inspect", "upgrade", "welcome"]
)


async def _nothing(_lab: Lab) -> None:
    return None


async def _active(lab: Lab) -> UUID:
    return await lab.active("acme")


async def _failed(lab: Lab) -> UUID:
    """A tenant whose provisioning was rolled back."""
    healthy = dict(lab.steps)
    lab.steps = Failure("verify", "ensure").wrap(lab.steps)
    operation = await lab.settle(await lab.create("acme"))
    lab.steps = healthy
    assert operation.state is OperationState.FAILED
    return operation.tenant_id


async def _suspended(lab: Lab) -> UUID:
    tenant_id = await lab.active("acme")
    await lab.settle(await _asked(lifecycle.suspend)(lab, tenant_id))
    return tenant_id


async def _deleted(lab: Lab) -> UUID:
    tenant_id = await lab.active("acme")
    await lab.settle(await lab.delete(tenant_id))
    return tenant_id


def _asked(request: Callable[..., Awaitable[OperationView]], **more: Any) -> Ask:
    async def ask(lab: Lab, tenant_id: UUID | None) -> OperationView:
        async with lab.parts.control.begin() as conn:
            return await request(conn, tenant_id, actor=ACTOR, deadline_s=300, **more)

    return ask


_GRACE = timedelta(days=30)
_restore = _asked(lifecycle.restore, grace=_GRACE)
_purge = _asked(lifecycle.purge, grace=_GRACE, confirm="acme", skip_grace=True)


async def _create(lab: Lab, _tenant_id: UUID | None) -> OperationView:
    return await lab.create("acme")


async def _delete(lab: Lab, tenant_id: UUID | None) -> OperationView:
    assert tenant_id is not None
    return await lab.delete(tenant_id)


SCENARIOS = (
    Scenario(PROVISION, _nothing, _create, "active", "failed", 2),
    Scenario(DEPROVISION, _active, _delete, "deleted", "active", 2),
    Scenario(PURGE, _failed, _delete, "purged", "failed", 1, name="purge-failed"),
    Scenario(PURGE, _deleted, _purge, "purged", "deleted", 2),
    Scenario(SUSPEND, _active, _asked(lifecycle.suspend), "suspended", "active", 2),
    Scenario(RESUME, _suspended, _asked(lifecycle.resume), "active", "suspended", 2),
    Scenario(RESTORE, _deleted, _restore, "active", "deleted", 2),
    Scenario(REPAIR, _active, _asked(lifecycle.repair), "active", "active", 2),
    Scenario(WELCOME, _active, _asked(lifecycle.resend_welcome), "active", "active", 3),
)

assert {s.plan for s in SCENARIOS} == set(PLANS), "a plan has no scenario"
