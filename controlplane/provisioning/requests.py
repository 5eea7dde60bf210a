"""What may be asked of the engine. Each function takes a connection, in whose transaction the
request is accepted whole or not at all, and never commits."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.naming import Subdomain
from controlplane.domain.operations import FINISHED, OperationState, Plan, StepState
from controlplane.domain.tenants import Tenant, TenantState, Tier
from controlplane.errors import InvalidState, OperationInProgress
from controlplane.provisioning import warm
from controlplane.provisioning.giving_back import give_back
from controlplane.provisioning.plans import (
    DEPROVISION,
    PROVISION,
    PURGE,
    plan_from_json,
    plan_to_json,
)
from controlplane.store import audit, config, holds, operations, tenants
from controlplane.store.audit import Actor
from controlplane.store.operation_tables import operation_steps
from controlplane.store.operation_tables import operations as table
from controlplane.store.operations import OPERATIONS_CHANNEL, OperationView

_DELETABLE = frozenset({TenantState.ACTIVE, TenantState.SUSPENDED})
# Newest first, where a tenant has been through both.
_DELETIONS = (PURGE.kind, DEPROVISION.kind)
_GONE = frozenset(
    {TenantState.DELETING, TenantState.DELETED, TenantState.PURGING, TenantState.PURGED}
)


@dataclass(frozen=True)
class NewTenant:
    """A tenant that was asked for, already parsed. Without a tier it gets the installation's."""

    name: str
    subdomain: Subdomain
    admin_email: str
    admin_name: str | None = None
    tier: Tier | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


async def create_tenant(
    conn: AsyncConnection,
    wanted: NewTenant,
    *,
    actor: Actor,
    deadline_s: float,
    recipe: str | None = None,
) -> OperationView:
    """Accept a tenant: its row, its subdomain, its operation; with a `recipe`, its schema too where
    the warm pool has one that was made by it.

    Raises SubdomainTaken and SubdomainQuarantined.
    """
    tenant_id, claimed = await warm.new_id(conn, recipe)
    await holds.claim(conn, wanted.subdomain, tenant_id)
    tier = wanted.tier
    if tier is None:
        tier = await config.read(conn, config.DEFAULT_TIER)
    await tenants.add(
        conn,
        tenant_id=tenant_id,
        name=wanted.name,
        subdomain=wanted.subdomain,
        tier=tier,
        admin_email=wanted.admin_email,
        admin_name=wanted.admin_name,
        metadata=wanted.metadata,
    )
    after = {"name": wanted.name, "subdomain": wanted.subdomain, "tier": tier}
    await audit.write(conn, actor, "tenant.create", tenant_id=tenant_id, after=after)
    params = warm.params(recipe, claimed)
    accepted = await start(conn, tenant_id, PROVISION, params, actor=actor, deadline_s=deadline_s)
    return await warm.hand_over(conn, accepted, claimed)


async def provision_again(
    conn: AsyncConnection, tenant_id: UUID, *, actor: Actor, deadline_s: float
) -> OperationView:
    """A new attempt for a failed tenant, which must claim its subdomain again.

    Raises TenantNotFound, OperationInProgress, InvalidState, SubdomainTaken, SubdomainQuarantined.
    """
    tenant = await idle_tenant(conn, tenant_id)
    if tenant.state is not TenantState.FAILED:
        raise InvalidState(
            f"The tenant is {tenant.state}; "
            "only a failed one is provisioned again, and a served one repaired."
        )
    await holds.claim(conn, tenant.subdomain, tenant.id)
    await holds.forget(conn, tenant.subdomain, tenant.id)
    await tenants.provision_again(conn, tenant)
    await audit.write(conn, actor, "tenant.provision", tenant_id=tenant_id)
    return await start(conn, tenant_id, PROVISION, {}, actor=actor, deadline_s=deadline_s)


async def delete_tenant(
    conn: AsyncConnection, tenant_id: UUID, *, actor: Actor, deadline_s: float
) -> OperationView:
    """Accept the soft deletion: from this commit on the tenant's host is refused.

    Deleting again answers with the operation that deletes or deleted it. A failed tenant has
    nothing to keep: it is purged.
    Raises TenantNotFound, OperationInProgress, InvalidState.
    """
    tenant = await tenants.get(conn, tenant_id, lock=True)
    deletion = await _deletion(conn, tenant)
    if deletion is not None:
        return deletion
    tenant = await idle_tenant(conn, tenant_id)
    before: dict[str, Any] = {"state": tenant.state}
    if tenant.state is TenantState.FAILED:
        await audit.write(conn, actor, "tenant.purge", tenant_id=tenant_id, before=before)
        from_state: dict[str, Any] = {"from_state": tenant.state}
        return await start(conn, tenant_id, PURGE, from_state, actor=actor, deadline_s=deadline_s)
    if tenant.state not in _DELETABLE:
        raise InvalidState(f"The tenant is {tenant.state} and cannot be deleted.")
    await tenants.set_state(conn, tenant_id, TenantState.DELETING)
    await audit.write(conn, actor, "tenant.delete", tenant_id=tenant_id, before=before)
    params: dict[str, Any] = {"from_state": tenant.state}
    return await start(conn, tenant_id, DEPROVISION, params, actor=actor, deadline_s=deadline_s)


async def cancel(conn: AsyncConnection, operation_id: UUID, *, actor: Actor) -> OperationView:
    """Ask a running operation to turn round; only one that is before its pivot can.

    The row's lock decides between a cancel and a pivot. Raises OperationNotFound, InvalidState.
    """
    operation = await operations.get(conn, operation_id, lock=True)
    if operation.cancel_requested and operation.state not in FINISHED:
        return operation
    if operation.state not in {OperationState.PENDING, OperationState.RUNNING}:
        raise InvalidState(f"The operation is {operation.state}; there is nothing to cancel.")
    if await _pivot_done(conn, operation_id):
        raise InvalidState("The operation has passed the point from which nothing is undone.")
    await _tell(conn, operation, "cancel_requested", actor)
    return await _set(conn, operation_id, cancel_requested_at=func.clock_timestamp())


async def resume(conn: AsyncConnection, operation_id: UUID, *, actor: Actor) -> OperationView:
    """Let a parked operation go on with a fresh budget. Raises OperationNotFound, InvalidState."""
    operation = await _parked(conn, operation_id)
    forward = await _pivot_done(conn, operation_id)
    state = OperationState.RUNNING if forward else OperationState.UNWINDING
    await conn.execute(
        update(operation_steps)
        .where(
            operation_steps.c.operation_id == operation_id,
            operation_steps.c.state != StepState.UNDONE,
        )
        .values(undo_attempt=0)
    )
    await _tell(conn, operation, "resumed", actor)
    return await _set(conn, operation_id, state=state)


async def abandon(
    conn: AsyncConnection,
    operation_id: UUID,
    *,
    reason: str,
    comment: str,
    by: str,
    quarantine: timedelta,
    actor: Actor,
) -> OperationView:
    """End a parked operation as it is; what is left of it is on record in the inventory.

    `quarantine` is how long nobody else may claim a name that the tenant loses by it. Raises
    OperationNotFound and InvalidState.
    """
    operation = await _parked(conn, operation_id)
    row = (await conn.execute(select(table).where(table.c.id == operation_id))).one()
    plan = plan_from_json(row.kind, row.plan_version, row.plan)
    if not await _pivot_done(conn, operation_id):
        await give_back(conn, operation.tenant_id, plan, row.params, lasting=quarantine)
    told = {"reason": reason, "comment": comment}
    await _tell(conn, operation, "abandoned", actor, told)
    return await _set(
        conn,
        operation_id,
        state=OperationState.ABANDONED,
        finished_at=func.clock_timestamp(),
        abandon_reason=reason,
        abandon_comment=comment,
        abandoned_by=by,
    )


async def start(
    conn: AsyncConnection,
    tenant_id: UUID,
    plan: Plan,
    params: dict[str, Any],
    *,
    actor: Actor,
    deadline_s: float,
) -> OperationView:
    """Enter an operation that follows the plan. Raises OperationInProgress."""
    operation_id = uuid4()
    await operations.add(
        conn,
        operation_id=operation_id,
        tenant_id=tenant_id,
        kind=plan.kind,
        plan=plan_to_json(plan, deadline_s=deadline_s),
        plan_version=plan.version,
        params=params,
        requested_by=actor.id,
        deadline_s=deadline_s,
    )
    return await operations.get(conn, operation_id)


async def idle_tenant(conn: AsyncConnection, tenant_id: UUID) -> Tenant:
    """The tenant, held until the commit. Raises TenantNotFound, OperationInProgress."""
    tenant = await tenants.get(conn, tenant_id, lock=True)
    live = select(table.c.kind).where(table.c.tenant_id == tenant_id, table.c.finished_at.is_(None))
    kind = (await conn.execute(live)).scalar_one_or_none()
    if kind is not None:
        raise OperationInProgress(
            f"The tenant's operation '{kind}' has not ended; wait for it or cancel it."
        )
    return tenant


async def _deletion(conn: AsyncConnection, tenant: Tenant) -> OperationView | None:
    """The operation that deletes or has deleted the tenant; None where there is none.

    A restore under way is neither: a deletion asked for meanwhile must not be lost.
    """
    newest = await operations.page(conn, limit=1, tenant_id=tenant.id)
    if newest and newest[0].finished_at is None:
        return newest[0] if newest[0].kind in _DELETIONS else None
    if tenant.state not in _GONE:
        return None
    for kind in _DELETIONS:
        done = await operations.page(
            conn, limit=1, tenant_id=tenant.id, kind=kind, state=OperationState.SUCCEEDED
        )
        if done:
            return done[0]
    return None


async def _pivot_done(conn: AsyncConnection, operation_id: UUID) -> bool:
    row = (await conn.execute(select(table).where(table.c.id == operation_id))).one()
    pivot = plan_from_json(row.kind, row.plan_version, row.plan).pivot
    done = select(operation_steps.c.state == StepState.DONE).where(
        operation_steps.c.operation_id == operation_id, operation_steps.c.ordinal == pivot
    )
    return bool((await conn.execute(done)).scalar_one())


async def _parked(conn: AsyncConnection, operation_id: UUID) -> OperationView:
    operation = await operations.get(conn, operation_id, lock=True)
    if operation.state is not OperationState.PARKED:
        raise InvalidState(f"The operation is {operation.state}; only a parked one can be.")
    return operation


async def _set(conn: AsyncConnection, operation_id: UUID, **values: Any) -> OperationView:
    await conn.execute(
        update(table)
        .where(table.c.id == operation_id)
        .values(**values, run_at=func.clock_timestamp())
    )
    await conn.execute(select(func.pg_notify(OPERATIONS_CHANNEL, str(operation_id))))
    return await operations.get(conn, operation_id)


async def _tell(
    conn: AsyncConnection,
    operation: OperationView,
    event: str,
    actor: Actor,
    told: dict[str, Any] | None = None,
) -> None:
    await operations.add_event(conn, operation.id, event, told or {})
    await audit.write(
        conn,
        actor,
        f"operation.{event}",
        tenant_id=operation.tenant_id,
        target=str(operation.id),
        before={"state": operation.state},
        after=told,
    )
