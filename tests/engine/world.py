"""What must hold after every scenario, beside the journal of each operation (invariants.py).

I2  a tenant has one operation at most that is not over.
I7  what was written carries the epoch that was current when it was committed (witness.py).
I8  the schemas and roles that carry our mark are exactly those that the journal has made.
I9  a schema is as the template says, with exactly one admin.
I10 a record is there only where a step may have made it, and under its tenant's name; during a
    rename, under one of its two.
I11 a tenant at rest has what its state says, no more and no less, and so has its inventory.
I12 one mail for each operation that owes one, none for what was rolled back, none sent twice.
I13 a subdomain is held by one tenant at most, and free if nobody has or holds it (names.py).
I14 a bystander is the same to the last byte: compare two calls of `fingerprint`.
I15 no lock, transaction, connection, task or thread is left over.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import literal_column, select, table

from controlplane.domain.operations import Action, PlanStep
from controlplane.provisioning.plans import plan_from_json
from controlplane.tenancy.scope import tenant_scope
from controlplane.tenancy.verify import verify_catalog
from tests.engine.invariants import assert_operation
from tests.engine.lab import Lab
from tests.engine.names import assert_names

HAPPENED = {"started", "done", "undo_started"}
_RELEASED = {"failed", "purged"}
_MARKED = """
SELECT 'schema' AS kind, nspname AS name FROM pg_namespace
WHERE starts_with(obj_description(oid, 'pg_namespace'), :mark)
UNION ALL SELECT 'role', rolname FROM pg_roles
WHERE starts_with(shobj_description(oid, 'pg_authid'), :mark)
UNION ALL SELECT 'warm', 'tenant_' || replace(tenant_id::text, '-', '') FROM public.warm_schemas
"""


@dataclass
class World:
    """Everything there is, read once."""

    tenants: dict[UUID, Any]
    operations: list[Any]
    steps: dict[UUID, list[Any]]
    events: dict[UUID, list[Any]]
    resources: set[tuple[UUID, str, str]]
    mails: list[Any]
    # By Message-ID; empty where mail does not go into memory.
    sent: Counter[str]
    unfenced: list[Any]
    schemas: set[str]
    roles: set[str]
    records: dict[str, UUID]
    warm: set[str]


async def read_world(lab: Lab) -> World:
    async with lab.asking() as ask:
        operations = await ask("SELECT * FROM public.operations ORDER BY created_at")
        steps: dict[UUID, list[Any]] = {op.id: [] for op in operations}
        for step in await ask("SELECT * FROM public.operation_steps ORDER BY ordinal"):
            steps[step.operation_id].append(step)
        events: dict[UUID, list[Any]] = {op.id: [] for op in operations}
        for event in await ask("SELECT * FROM public.operation_events ORDER BY seq"):
            events[event.operation_id].append(event)
        marked: dict[str, set[str]] = {"schema": set(), "role": set(), "warm": set()}
        for row in await ask(_MARKED, mark=f"controlplane/{lab.parts.installation}/"):
            marked[row.kind].add(row.name)
        return World(
            tenants={t.id: t for t in await ask("SELECT * FROM public.tenants")},
            operations=operations,
            steps=steps,
            events=events,
            resources={
                (r.tenant_id, r.kind, r.external_id)
                for r in await ask("SELECT * FROM public.tenant_resources")
            },
            mails=await ask("SELECT * FROM public.email_deliveries"),
            sent=Counter(message.message_id for message in getattr(lab.sender, "sent", ())),
            unfenced=await ask("SELECT * FROM public.witness"),
            schemas=marked["schema"],
            roles=marked["role"],
            records={
                owned.record.name: owned.mark.tenant
                async for owned in lab.dns.owned(lab.parts.installation)
            },
            warm=marked["warm"],
        )


async def assert_world(lab: Lab) -> World:
    """Everything above, whatever has happened before."""
    world = await assert_journal(lab)
    for tenant in world.tenants.values():
        if not _live(world, tenant.id):
            await _assert_tenant_at_rest(lab, world, tenant)
    _assert_nothing_unowned(world)
    _assert_sent_once(world)
    await assert_names(lab)
    await _assert_nothing_leaked(lab)
    return world


async def assert_journal(lab: Lab) -> World:
    """What must hold at any moment, with workers at work or frozen; cheap."""
    world = await read_world(lab)
    for operation in world.operations:
        assert_operation(operation, world.steps[operation.id], world.events[operation.id])
    for tenant_id in world.tenants:
        assert len(_live(world, tenant_id)) <= 1, "I2 two operations at once"
    assert not world.unfenced, f"I7 {world.unfenced}"
    _assert_schemas(world)
    holding = Counter(t.subdomain for t in world.tenants.values() if t.state not in _RELEASED)
    assert set(holding.values()) <= {1}, f"I13 {holding}"
    return world


def _live(world: World, tenant_id: UUID) -> list[Any]:
    return [o for o in world.operations if o.tenant_id == tenant_id and not o.finished_at]


def _assert_schemas(world: World) -> None:
    """Local steps commit with their journal, so at every moment it tells what there is."""
    names = {f"tenant_{tenant_id.hex}" for tenant_id in world.tenants}
    for marked in (world.schemas, world.roles):
        assert world.warm <= marked - names, f"I8 a tenant's, or not there: {world.warm}"
        assert marked <= names | world.warm, f"I8 of no tenant: {marked - names - world.warm}"
    for tenant_id in world.tenants:
        made, name = _journaled_schema(world, tenant_id), f"tenant_{tenant_id.hex}"
        if made is not None:
            there = (name in world.schemas, name in world.roles)
            assert there == (made, made), f"I8 schema and role {name} are {there}, {made} in truth"


def _journaled_schema(world: World, tenant_id: UUID) -> bool | None:
    """Whether by its journal the tenant has a schema; None where no journal can know: something
    was found there that no operation had made, or what is left was given over to an operator."""
    made: bool | None = False
    for operation in world.operations:
        if operation.tenant_id == tenant_id:
            for planned, step in zip(_planned(operation), world.steps[operation.id], strict=True):
                made = _after(operation, planned, step.state, made=made)
            made = None if operation.state == "abandoned" else made
    return made


def _after(operation: Any, planned: PlanStep, state: str, *, made: bool | None) -> bool | None:
    if planned.name == "orphan_schema" and operation.params["schema"]:
        return False if state == "done" else made or None
    if planned.name != "schema":
        return made
    if state == "started" and operation.params.get("warm"):
        # Given by the warm pool; gone, where it was stale and is made anew.
        return None
    if state in {"done", "undo_started"}:
        # An undo that was begun has not reached the schema itself, nor the role.
        return planned.action is Action.ENSURE
    return False if state == "undone" else made


async def _assert_tenant_at_rest(lab: Lab, world: World, tenant: Any) -> None:
    if tenant.state in {"failed", "purged"} and _clean_was_turned_back(world, tenant.id):
        return
    schema = f"tenant_{tenant.id.hex}"
    has_schema = schema in world.schemas
    has_record = world.records.get(tenant.subdomain) == tenant.id
    assert (schema in world.roles) == has_schema, "I8 a schema without its role, or a role alone"
    held = {(kind, name) for owner, kind, name in world.resources if owner == tenant.id}
    there = {
        *({("schema", schema)} if has_schema else ()),
        *({("dns", tenant.subdomain)} if has_record else ()),
    }
    assert held == there, f"I11 {tenant.state}: the inventory has {held}, there is {there}"
    if tenant.state in {"active", "suspended"}:
        assert has_schema, f"I11 {tenant.state} without a schema"
        assert has_record, f"I11 {tenant.state} without a record"
        await _assert_whole(lab, tenant)
    elif tenant.state in _RELEASED:
        assert not has_schema, f"I11 {tenant.state} with a schema"
        assert not has_record, f"I11 {tenant.state} with a record"
        assert tenant.revision is None, f"I11 {tenant.state} at a revision"
    elif tenant.state == "deleted":
        assert has_schema, "I11 deleted, and its data is gone"
        assert not has_record, "I11 deleted with a record"
        assert tenant.deleted_at is not None, "I11 deleted at no time"
    else:
        raise AssertionError(f"I11 {tenant.state} without an operation")
    _assert_mails(world, tenant)


async def _assert_whole(lab: Lab, tenant: Any) -> None:
    """At head, as the template says, with exactly one admin."""
    async with lab.parts.owner.connect() as conn:
        findings = await verify_catalog(
            conn, tenant_id=tenant.id, app_login="cp_app", template=lab.parts.template
        )
        assert findings == [], f"I9 {findings}"
        async with tenant_scope(conn, tenant.id):
            users = (await conn.exec_driver_sql("SELECT email FROM users")).scalars().all()
    assert users == [tenant.admin_email], f"I9 its admins are {users}"


def _assert_mails(world: World, tenant: Any) -> None:
    """One welcome per provisioning that succeeded, none for one that was rolled back."""
    for operation in world.operations:
        if operation.tenant_id == tenant.id:
            mails = [m for m in world.mails if m.operation_id == operation.id]
            welcomed = operation.kind in {"provision", "welcome"} and operation.state == "succeeded"
            told = f"I12 {operation.kind} {operation.state}: {len(mails)} mails"
            assert len(mails) == (1 if welcomed else 0), told


def _assert_sent_once(world: World) -> None:
    doubled = [message_id for message_id, times in world.sent.items() if times > 1]
    assert not doubled, f"I12 sent twice: {doubled}"
    begun = [mail for mail in world.mails if mail.attempt]
    assert world.sent.total() <= len(begun), "I12 a mail was sent without an intent"


def _assert_nothing_unowned(world: World) -> None:
    """A record that carries our mark belongs to a tenant whose step may have made it."""
    for name, tenant_id in world.records.items():
        if not _clean_was_turned_back(world, tenant_id):
            assert _may_have(world, tenant_id, "dns"), f"I10 a record {name} without its step"
            assert name in _names_of(world, tenant_id), f"I10 {name} is not its name"


def _names_of(world: World, tenant_id: UUID) -> set[str]:
    """The tenant's subdomain and, while it is renamed, the other one."""
    renames = [o for o in world.operations if o.tenant_id == tenant_id and o.kind == "rename"]
    ahead = (o.params[name] for o in renames if not o.finished_at for name in ("old", "subdomain"))
    return {world.tenants[tenant_id].subdomain, *ahead}


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
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    open_ones = await lab.sql(
        f"SELECT query FROM pg_stat_activity WHERE {others} AND state LIKE 'idle in transaction%'"  # noqa: S608  literals
    )
    assert open_ones == [], f"I15 transactions are left open: {open_ones}"
    advisory = await lab.sql(
        "SELECT pid FROM pg_locks JOIN pg_database d ON d.oid = database"
        " WHERE locktype = 'advisory' AND datname = current_database()"
    )
    assert advisory == [], "I15 advisory locks are held"
    for engine in (lab.parts.owner, lab.parts.control):
        assert "Current Checked out connections: 0" in engine.pool.status(), "I15 connections"
    tasks = [task.get_name() for task in asyncio.all_tasks() if "drive" in str(task.get_coro())]
    assert tasks == [], f"I15 tasks: {tasks}"
    beats = [thread for thread in threading.enumerate() if "_each_beat" in thread.name]
    assert beats == [], f"I15 threads: {beats}"


_WHOLE_ROW: Any = literal_column("t::text").label("row")


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
            rows = await conn.execute(
                select(_WHOLE_ROW).select_from(table(name).alias("t")).order_by("row")
            )
            seen[name] = rows.scalars().all()
    owned = [o async for o in lab.dns.owned(lab.parts.installation) if o.mark.tenant == tenant_id]
    row = await lab.sql("SELECT t::text FROM public.tenants t WHERE id = :id", id=tenant_id)
    return {**seen, "record": owned, "row": row[0][0]}
