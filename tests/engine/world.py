"""What must hold after every scenario: journal, schemas, roles, records, mails and bystanders."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from uuid import UUID

from sqlalchemy import literal_column, select, table

from controlplane.domain.operations import STEP_TRANSITIONS, Action, PlanStep, StepState
from controlplane.provisioning.plans import plan_from_json
from controlplane.tenancy.scope import tenant_scope
from controlplane.tenancy.verify import verify_catalog
from tests.engine.lab import Lab

HAPPENED = {"started", "done", "undo_started"}
FINISHED = {"succeeded", "failed", "cancelled", "abandoned"}


@dataclass
class World:
    """Everything there is, read once."""

    tenants: dict[UUID, Any]
    operations: list[Any]
    steps: dict[UUID, list[Any]]
    events: dict[UUID, list[Any]]
    resources: set[tuple[UUID, str, str]]
    mails: list[Any]
    schemas: set[str]
    roles: set[str]
    records: dict[str, UUID]


async def read_world(lab: Lab) -> World:
    operations = await lab.sql("SELECT * FROM public.operations ORDER BY created_at")
    steps: dict[UUID, list[Any]] = {op.id: [] for op in operations}
    for step in await lab.sql("SELECT * FROM public.operation_steps ORDER BY ordinal"):
        steps[step.operation_id].append(step)
    events: dict[UUID, list[Any]] = {op.id: [] for op in operations}
    for event in await lab.sql("SELECT * FROM public.operation_events ORDER BY seq"):
        events[event.operation_id].append(event)
    mark = f"controlplane/{lab.parts.installation}/"
    return World(
        tenants={t.id: t for t in await lab.sql("SELECT * FROM public.tenants")},
        operations=operations,
        steps=steps,
        events=events,
        resources={
            (r.tenant_id, r.kind, r.external_id)
            for r in await lab.sql("SELECT * FROM public.tenant_resources")
        },
        mails=await lab.sql("SELECT * FROM public.email_deliveries"),
        schemas=await _names(
            lab,
            "SELECT nspname FROM pg_namespace"
            " WHERE starts_with(obj_description(oid, 'pg_namespace'), :mark)",
            mark,
        ),
        roles=await _names(
            lab,
            "SELECT rolname FROM pg_roles"
            " WHERE starts_with(shobj_description(oid, 'pg_authid'), :mark)",
            mark,
        ),
        records={
            owned.record.name: owned.mark.tenant
            async for owned in lab.dns.owned(lab.parts.installation)
        },
    )


async def _names(lab: Lab, query: str, mark: str) -> set[str]:
    return {row[0] for row in await lab.sql(query, mark=mark)}


async def assert_world(lab: Lab) -> World:
    """Invariants I1 to I15 of the engine, whatever has happened before."""
    world = await read_world(lab)
    for operation in world.operations:
        _assert_operation(world, operation)
    for tenant in world.tenants.values():
        live = [o for o in world.operations if o.tenant_id == tenant.id and not o.finished_at]
        assert len(live) <= 1
        if not live:
            await _assert_tenant_at_rest(lab, world, tenant)
    _assert_nothing_unowned(world)
    await _assert_nothing_leaked(lab)
    return world


def _assert_operation(world: World, operation: Any) -> None:
    steps, events = world.steps[operation.id], world.events[operation.id]
    assert (operation.finished_at is not None) == (operation.state in FINISHED)
    states = [step.state for step in steps]
    if operation.state == "succeeded":
        assert set(states) == {"done"}, states
    if operation.state in {"failed", "cancelled"}:
        assert set(states) <= {"pending", "undone"}, states
    if operation.state in {"pending", "running"}:
        _assert_contiguous(states)
    _assert_events(operation, steps, events)


def _assert_contiguous(states: list[str]) -> None:
    """Done, done, at most one begun, pending, pending."""
    order = {"done": 0, "started": 1, "pending": 2}
    ranks = [order[state] for state in states]
    assert ranks == sorted(ranks), states
    assert ranks.count(1) <= 1, states


def _assert_events(operation: Any, steps: list[Any], events: list[Any]) -> None:
    assert [e.seq for e in events] == list(range(1, operation.event_seq + 1))
    assert all(a.epoch <= b.epoch for a, b in pairwise(events)), "an old epoch wrote later"
    assert all(e.epoch <= operation.epoch for e in events)
    folded = {step.name: "pending" for step in steps}
    for event in events:
        if event.step is not None:
            before, after = folded[event.step], event.data["state"]
            allowed = {before, *STEP_TRANSITIONS[StepState(before)]}
            assert after in allowed, f"{event.step}: {before} -> {after}"
            folded[event.step] = after
    assert folded == {step.name: step.state for step in steps}
    kinds = [e.type for e in events]
    if "unwinding" in kinds:
        assert "step_done" not in kinds[kinds.index("unwinding") :]


async def _assert_tenant_at_rest(lab: Lab, world: World, tenant: Any) -> None:
    if tenant.state in {"failed", "purged"} and _clean_was_turned_back(world, tenant.id):
        return
    schema = f"tenant_{tenant.id.hex}"
    has_schema = schema in world.schemas
    has_record = world.records.get(tenant.subdomain) == tenant.id
    assert (schema in world.roles) == has_schema
    held = {(kind, name) for owner, kind, name in world.resources if owner == tenant.id}
    assert held == {
        *({("schema", schema)} if has_schema else ()),
        *({("dns", tenant.subdomain)} if has_record else ()),
    }
    if tenant.state in {"active", "suspended"}:
        assert has_schema
        assert has_record
        await _assert_whole(lab, tenant)
    elif tenant.state in {"failed", "purged"}:
        assert not has_schema
        assert not has_record
        assert tenant.revision is None
    elif tenant.state == "deleted":
        assert not has_record
        assert tenant.deleted_at is not None
    else:
        raise AssertionError(f"{tenant.state} without an operation")
    _assert_mails(world, tenant)


async def _assert_whole(lab: Lab, tenant: Any) -> None:
    """At head, as the template says, with exactly one admin."""
    async with lab.parts.owner.connect() as conn:
        findings = await verify_catalog(
            conn, tenant_id=tenant.id, app_login="cp_app", template=lab.parts.template
        )
        assert findings == []
        async with tenant_scope(conn, tenant.id):
            users = (await conn.exec_driver_sql("SELECT email FROM users")).scalars().all()
    assert users == [tenant.admin_email]


def _assert_mails(world: World, tenant: Any) -> None:
    """One welcome per provisioning that succeeded, none for one that was rolled back."""
    for operation in world.operations:
        if operation.tenant_id == tenant.id:
            mails = [m for m in world.mails if m.operation_id == operation.id]
            welcomed = operation.kind in {"provision", "welcome"} and operation.state == "succeeded"
            assert len(mails) == (1 if welcomed else 0)
            assert all(mail.attempt <= 1 or mail.state != "uncertain" for mail in mails)


def _assert_nothing_unowned(world: World) -> None:
    """Whatever carries our mark belongs to a tenant whose step may have made it."""
    names = {f"tenant_{tenant_id.hex}" for tenant_id in world.tenants}
    assert world.schemas <= names
    assert world.roles <= names
    for name, tenant_id in world.records.items():
        if not _clean_was_turned_back(world, tenant_id):
            assert _may_have(world, tenant_id, "dns"), f"a record {name} without its step"
            assert name == world.tenants[tenant_id].subdomain
    holding = [t.subdomain for t in world.tenants.values() if t.state not in {"failed", "purged"}]
    assert len(holding) == len(set(holding))


def _clean_was_turned_back(world: World, tenant_id: UUID) -> bool:
    """Then the orphans that it was to take away are there still, in the reconciler's sight."""
    last = [o for o in world.operations if o.tenant_id == tenant_id][-1:]
    return any(o.kind == "clean" and o.state in {"failed", "cancelled"} for o in last)


def _may_have(world: World, tenant_id: UUID, name: str) -> bool:
    return any(
        planned.name == name and planned.action is Action.ENSURE and step.state in HAPPENED
        for operation in world.operations
        if operation.tenant_id == tenant_id
        for planned, step in zip(_planned(operation), world.steps[operation.id], strict=True)
    )


def _planned(operation: Any) -> Sequence[PlanStep]:
    return plan_from_json(operation.kind, operation.plan_version, operation.plan).steps


async def _assert_nothing_leaked(lab: Lab) -> None:
    """No transaction is left open; advisory and table locks go with their transactions."""
    open_ones = await lab.sql(
        "SELECT pid, query FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'"
    )
    assert open_ones == []
    names = [task.get_name() for task in asyncio.all_tasks() if "drive" in str(task.get_coro())]
    assert names == []


_WHOLE_ROW: Any = literal_column("t::text").label("row")


def _table(name: str) -> Any:
    return table(name).alias("t")


async def fingerprint(lab: Lab, tenant_id: UUID) -> dict[str, Any]:
    """A bystander to the last byte: rows of every table, record, row in the registry."""
    schema = f"tenant_{tenant_id.hex}"
    tables = await lab.sql(
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = :schema AND c.relkind = 'r' ORDER BY 1",
        schema=schema,
    )
    seen: dict[str, Any] = {}
    async with lab.parts.owner.connect() as conn, tenant_scope(conn, tenant_id):
        for (name,) in tables:
            rows = await conn.execute(select(_WHOLE_ROW).select_from(_table(name)).order_by("row"))
            seen[name] = rows.scalars().all()
    owned = [o async for o in lab.dns.owned(lab.parts.installation) if o.mark.tenant == tenant_id]
    row = await lab.sql("SELECT t::text FROM public.tenants t WHERE id = :id", id=tenant_id)
    return {**seen, "record": owned, "row": row[0][0]}
