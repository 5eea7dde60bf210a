"""How each plan is asked for. A new plan is covered by every harness once it is named here."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from psycopg.sql import SQL, Identifier, Literal

from controlplane.domain.dns import record_for
from controlplane.domain.drift import Finding
from controlplane.domain.naming import Mark, Subdomain, schema_name
from controlplane.domain.operations import OperationState, Plan
from controlplane.provisioning import lifecycle, reconcile
from controlplane.provisioning.plans import (
    CLEAN,
    DEPROVISION,
    PLANS,
    PROVISION,
    PURGE,
    RENAME,
    REPAIR,
    RESTORE,
    RESUME,
    SUSPEND,
    WELCOME,
)
from controlplane.store.operations import OperationView
from tests.engine.faults import Failure
from tests.engine.lab import ACTOR, Lab

Prepare = Callable[[Lab], Awaitable[UUID | None]]
Ask = Callable[[Lab, UUID | None], Awaitable[OperationView]]


@dataclass(frozen=True)
class Scenario:
    """`prepare` makes what the plan needs; `ask` requests it, as often as it is called."""

    plan: Plan
    prepare: Prepare
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
    [
        *("activate", "retire", "condemn", "bury", "suspend", "serve", "inspect", "upgrade"),
        *("welcome", "disown", "orphan_record", "orphan_schema", "switch"),
    ]
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


async def _orphaned(lab: Lab) -> UUID:
    """A failed tenant whose schema, role and record are there all the same."""
    tenant_id = await _failed(lab)
    await plant(lab, tenant_id, "schema", "role", record="acme")
    return tenant_id


async def _misnamed(lab: Lab) -> UUID:
    """An active tenant with a second record, of a name that is not its subdomain."""
    tenant_id = await lab.active("acme")
    await plant(lab, tenant_id, record="acme-old")
    return tenant_id


async def plant(lab: Lab, tenant_id: UUID, *things: str, record: str | None = None) -> None:
    """Put things there that carry our mark for a tenant, as if a worker had lost them."""
    mark = Mark(lab.parts.installation, tenant_id, uuid4())
    for thing in things:
        await lab.sql(_made(thing, schema_name(tenant_id), str(mark)))
    if record is not None:
        await lab.dns.ensure(record_for(Subdomain(record), lab.parts.settings.dns_target), mark)


def _made(thing: str, name: str, comment: str) -> str:
    statement = SQL("CREATE {thing} {name}; COMMENT ON {thing} {name} IS {comment}").format(
        thing=SQL("SCHEMA" if thing == "schema" else "ROLE"),
        name=Identifier(name),
        comment=Literal(comment),
    )
    return statement.as_string()


async def found(lab: Lab) -> list[Finding]:
    """What the reconciler sees."""
    return await reconcile.look(
        lab.parts.owner,
        installation=lab.parts.installation,
        dns=lab.dns,
        dns_target=lab.parts.settings.dns_target,
    )


async def _clean(lab: Lab, _tenant_id: UUID | None) -> OperationView:
    findings = await found(lab)
    async with lab.parts.owner.begin() as conn:
        (started,) = await reconcile.repair(conn, findings, actor=ACTOR, deadline_s=300)
    return await lab.view(started)


def _asked(request: Callable[..., Awaitable[OperationView]], **more: Any) -> Ask:
    async def ask(lab: Lab, tenant_id: UUID | None) -> OperationView:
        async with lab.parts.control.begin() as conn:
            return await request(conn, tenant_id, actor=ACTOR, deadline_s=300, **more)

    return ask


_GRACE = timedelta(days=30)
_restore = _asked(lifecycle.restore, grace=_GRACE)
_rename = _asked(lifecycle.rename, subdomain=Subdomain("acme-new"))
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
    Scenario(RENAME, _active, _rename, "active", "active", 2),
    Scenario(CLEAN, _orphaned, _clean, "failed", "failed", 1),
    Scenario(CLEAN, _misnamed, _clean, "active", "active", 2, name="clean-record"),
)

assert {s.plan for s in SCENARIOS} == set(PLANS), "a plan has no scenario"
