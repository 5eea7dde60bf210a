"""What an undisturbed operation writes, word for word."""

import pytest

from controlplane.store.operations import OperationView
from tests.engine.lab import Lab
from tests.engine.world import assert_world

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


async def events(lab: Lab, operation: OperationView) -> list[str]:
    rows = await lab.sql(
        "SELECT step, type FROM public.operation_events WHERE operation_id = :id ORDER BY seq",
        id=operation.id,
    )
    return [f"{row.step or '-'} {row.type}" for row in rows]


async def test_a_provisioning_goes_through_its_steps_in_order(lab):
    operation = await lab.settle(await lab.create("acme"))

    assert operation.state == "succeeded"
    assert await events(lab, operation) == [
        "- accepted",
        "schema step_done",
        "admin step_done",
        "dns step_started",
        "dns step_done",
        "verify step_started",
        "verify step_done",
        "activate step_done",
        "- succeeded",
    ]
    world = await assert_world(lab)
    assert world.tenants[operation.tenant_id].state == "active"
    assert [step.attempt for step in operation.steps] == [1, 1, 1, 1, 1]


async def test_a_deletion_keeps_the_data_and_takes_the_record(lab):
    tenant_id = await lab.active("acme")

    operation = await lab.settle(await lab.delete(tenant_id))

    assert await events(lab, operation) == [
        "- accepted",
        "dns step_started",
        "dns step_done",
        "sessions step_done",
        "retire step_done",
        "- succeeded",
    ]
    world = await assert_world(lab)
    assert world.tenants[tenant_id].state == "deleted"
    assert f"tenant_{tenant_id.hex}" in world.schemas
    assert "acme" not in world.records


async def test_deleting_twice_is_one_deletion(lab):
    tenant_id = await lab.active("acme")
    first = await lab.delete(tenant_id)
    second = await lab.delete(tenant_id)
    await lab.settle(first)
    third = await lab.delete(tenant_id)

    assert first.id == second.id == third.id


async def test_the_conditions_of_a_tenant_tell_what_it_has(lab):
    tenant_id = await lab.active("acme")
    (row,) = await lab.sql("SELECT conditions FROM public.tenants WHERE id = :id", id=tenant_id)

    assert {name: told["holds"] for name, told in row.conditions.items()} == {
        "SchemaReady": True,
        "AdminReady": True,
        "DnsReady": True,
        "WelcomeSent": True,
    }


async def test_every_operation_leaves_its_rows_in_the_audit_log(lab):
    tenant_id = await lab.active("acme")
    rows = await lab.sql(
        "SELECT action, actor_kind, outcome FROM public.audit_log"
        " WHERE tenant_id = :id ORDER BY at",
        id=tenant_id,
    )
    assert [tuple(row) for row in rows] == [
        ("tenant.create", "cli", "ok"),
        ("tenant.provision", "operation", "ok"),
    ]
