"""What is asked of the engine is accepted whole or not at all, and leaves a line in the audit log."""

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.tenants import TenantState
from controlplane.errors import (
    InvalidState,
    OperationInProgress,
    SubdomainTaken,
    TenantNotFound,
)
from controlplane.store import tenants
from controlplane.store.operation_tables import operations as table
from tests.integration.store.conftest import ADMIN, Accepted, accept
from tests.integration.store.lives import (
    NOBODY,
    Ask,
    activate,
    delete,
    fail,
    provision,
)
from tests.integration.store.rows import audit, world

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


async def test_an_accepted_tenant_is_a_row_an_operation_its_steps_and_an_event(
    conn: AsyncConnection, acme: Accepted
) -> None:
    found = await world(conn)
    counts = {name: len(rows) for name, rows in found.items() if rows}
    assert counts == {
        "audit_log": 1,
        "installation": 1,
        "operation_events": 1,
        "operation_steps": 5,
        "operations": 1,
        "system_config": 1,
        "tenant_changes": 1,
        "tenants": 1,
    }
    assert (await tenants.get(conn, acme.id)).state is TenantState.PROVISIONING


async def test_the_audit_log_tells_who_asked_from_where_for_what(
    conn: AsyncConnection, acme: Accepted
) -> None:
    (row,) = await audit(conn)
    assert (row.actor, row.actor_kind, row.action) == (ADMIN.id, "admin", "tenant.create")
    assert (row.tenant_id, row.outcome) == (acme.id, "ok")
    assert (row.request_id, row.ip, row.agent) == ("req-1", "192.0.2.9", "curl")
    assert row.after == {"name": "Acme", "subdomain": "acme", "tier": "starter"}


async def test_a_refused_tenant_leaves_nothing_behind(conn: AsyncConnection) -> None:
    await accept(conn, "acme")
    before = await world(conn)
    with pytest.raises(SubdomainTaken):
        async with conn.begin_nested():
            await accept(conn, "acme")
    assert await world(conn) == before


@pytest.mark.parametrize("state", [TenantState.ACTIVE, TenantState.SUSPENDED])
async def test_a_tenant_at_rest_can_be_deleted_and_is_refused_at_once(
    conn: AsyncConnection, acme: Accepted, state: TenantState
) -> None:
    await activate(conn, acme)
    if state is TenantState.SUSPENDED:
        await tenants.set_state(conn, acme.id, state)
    operation = await delete(conn, acme.id)
    assert [step.name for step in operation.steps] == ["dns", "sessions", "retire"]
    assert (await tenants.get(conn, acme.id)).state is TenantState.DELETING
    params = select(table.c.params).where(table.c.id == operation.id)
    assert (await conn.execute(params)).scalar_one() == {"from_state": state}
    assert (await audit(conn))[-1].before == {"state": state}


async def test_deleting_a_failed_tenant_purges_it_and_leaves_its_name_free_meanwhile(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await fail(conn, acme)
    operation = await delete(conn, acme.id)
    assert operation.kind == "purge"
    assert [step.name for step in operation.steps] == ["condemn", "dns", "schema", "bury"]
    assert (await tenants.get(conn, acme.id)).state is TenantState.FAILED
    await accept(conn, "acme")


async def test_deleting_again_answers_with_the_operation_that_deletes(
    conn: AsyncConnection, acme: Accepted
) -> None:
    # In one transaction now() stands still, and the newest is asked for.
    await conn.execute(text("UPDATE public.operations SET created_at = now() - interval '1 day'"))
    await activate(conn, acme)
    first = await delete(conn, acme.id)
    before = await world(conn)
    assert await delete(conn, acme.id) == first
    assert await world(conn) == before


async def test_a_tenant_that_is_being_provisioned_cannot_be_deleted(
    conn: AsyncConnection, acme: Accepted
) -> None:
    with pytest.raises(OperationInProgress, match="'provision' has not ended"):
        await delete(conn, acme.id)


async def test_a_failed_tenant_is_provisioned_again_by_a_new_operation(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await fail(conn, acme)
    operation = await provision(conn, acme.id)
    assert operation.id != acme.operation
    assert (await tenants.get(conn, acme.id)).state is TenantState.PROVISIONING
    assert (await audit(conn))[-1].action == "tenant.provision"


async def test_only_a_failed_tenant_is_provisioned_again(
    conn: AsyncConnection, acme: Accepted, globex: Accepted
) -> None:
    await activate(conn, acme)
    with pytest.raises(InvalidState, match="is active"):
        await provision(conn, acme.id)
    with pytest.raises(OperationInProgress):
        await provision(conn, globex.id)


async def test_a_failed_tenant_whose_subdomain_is_taken_stays_failed(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await fail(conn, acme)
    await accept(conn, "acme")
    before = await world(conn)
    with pytest.raises(SubdomainTaken):
        async with conn.begin_nested():
            await provision(conn, acme.id)
    assert await world(conn) == before


@pytest.mark.parametrize("ask", [delete, provision])
async def test_an_unknown_tenant_is_refused(conn: AsyncConnection, ask: Ask) -> None:
    with pytest.raises(TenantNotFound):
        await ask(conn, NOBODY)
