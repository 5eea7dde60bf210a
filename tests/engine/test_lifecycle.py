"""Failed tenants are made again or purged, deleted ones restored, harmed ones repaired."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from controlplane.errors import InvalidState, OperationInProgress, SubdomainTaken
from controlplane.provisioning import lifecycle, requests
from controlplane.provisioning.steps.repair import Inspect
from tests.engine.faults import Failure
from tests.engine.lab import ACTOR, Lab
from tests.engine.names import outlast_holds
from tests.engine.test_cancel import cancel
from tests.engine.world import assert_world, fingerprint

pytestmark = [pytest.mark.anyio]


async def test_a_failed_tenant_is_provisioned_again_by_a_new_operation(lab):
    healthy = dict(lab.steps)
    lab.steps = Failure("verify", "ensure").wrap(lab.steps)
    failed = await lab.settle(await lab.create("acme"))
    lab.steps = healthy

    async with lab.parts.control.begin() as conn:
        again = await requests.provision_again(conn, failed.tenant_id, actor=ACTOR, deadline_s=300)
    ended = await lab.settle(again)

    assert ended.id != failed.id
    assert ended.tenant_id == failed.tenant_id
    assert ended.state == "succeeded"
    await assert_world(lab)


async def test_a_failed_tenant_whose_subdomain_was_taken_meanwhile_stays_failed(lab):
    healthy = dict(lab.steps)
    lab.steps = Failure("admin", "ensure").wrap(lab.steps)
    failed = await lab.settle(await lab.create("acme"))
    lab.steps = healthy
    await outlast_holds(lab)
    await lab.active("acme")

    with pytest.raises(SubdomainTaken):
        async with lab.parts.control.begin() as conn:
            await requests.provision_again(conn, failed.tenant_id, actor=ACTOR, deadline_s=300)


async def test_a_tenant_has_one_operation_at_a_time(lab):
    operation = await lab.create("acme")
    with pytest.raises(OperationInProgress):
        await lab.delete(operation.tenant_id)
    with pytest.raises(OperationInProgress):
        async with lab.parts.control.begin() as conn:
            await requests.provision_again(conn, operation.tenant_id, actor=ACTOR, deadline_s=300)
    await lab.settle(operation)


async def failed_tenant(lab: Lab) -> UUID:
    healthy = dict(lab.steps)
    lab.steps = Failure("admin", "ensure").wrap(lab.steps)
    failed = await lab.settle(await lab.create("acme"))
    lab.steps = healthy
    return failed.tenant_id


async def test_deleting_a_failed_tenant_purges_it_for_there_is_nothing_to_keep(lab):
    tenant_id = await failed_tenant(lab)

    ended = await lab.settle(await lab.delete(tenant_id))

    assert (ended.kind, ended.state) == ("purge", "succeeded")
    world = await assert_world(lab)
    assert world.tenants[tenant_id].state == "purged"
    await outlast_holds(lab)
    await lab.active("acme")
    assert (await lab.delete(tenant_id)).id == ended.id


async def test_deleting_a_failed_tenant_leaves_its_successor_of_the_same_name_alone(lab):
    tenant_id = await failed_tenant(lab)
    await outlast_holds(lab)
    successor = await lab.active("acme")
    before = await fingerprint(lab, successor)

    assert (await lab.settle(await lab.delete(tenant_id))).state == "succeeded"

    assert await fingerprint(lab, successor) == before


async def test_a_cancelled_purge_of_a_failed_tenant_makes_nothing_that_was_not_there(lab):
    tenant_id = await failed_tenant(lab)
    operation = await lab.delete(tenant_id)
    await cancel(lab, operation)

    assert (await lab.settle(operation)).state == "cancelled"
    world = await assert_world(lab)
    assert world.tenants[tenant_id].state == "failed"


async def test_a_cancelled_deletion_gives_the_tenant_back(lab):
    tenant_id = await lab.active("acme")
    operation = await lab.delete(tenant_id)
    await cancel(lab, operation)

    assert (await lab.settle(operation)).state == "cancelled"
    world = await assert_world(lab)
    assert world.tenants[tenant_id].state == "active"


async def test_a_deletion_asked_for_while_the_tenant_is_restored_is_refused_and_not_lost(lab):
    tenant_id = await lab.active("acme")
    first = await lab.settle(await lab.delete(tenant_id))
    async with lab.parts.control.begin() as conn:
        restoring = await lifecycle.restore(
            conn, tenant_id, grace=timedelta(days=30), actor=ACTOR, deadline_s=300
        )

    with pytest.raises(OperationInProgress, match="restore"):
        await lab.delete(tenant_id)

    await lab.settle(restoring)
    second = await lab.settle(await lab.delete(tenant_id))
    assert second.id not in {first.id, restoring.id}
    assert (await lab.delete(tenant_id)).id == second.id


async def test_deleting_after_a_restore_that_failed_answers_with_the_deletion_that_stands(lab):
    tenant_id = await lab.active("acme")
    deleted = await lab.settle(await lab.delete(tenant_id))
    healthy = dict(lab.steps)
    lab.steps = Failure("verify", "ensure").wrap(lab.steps)
    async with lab.parts.control.begin() as conn:
        restoring = await lifecycle.restore(
            conn, tenant_id, grace=timedelta(days=30), actor=ACTOR, deadline_s=300
        )
    assert (await lab.settle(restoring)).state == "failed"
    lab.steps = healthy

    assert (await lab.delete(tenant_id)).id == deleted.id


async def test_deleting_a_failed_tenant_twice_is_one_purge(lab):
    tenant_id = await failed_tenant(lab)
    first, second = await lab.delete(tenant_id), await lab.delete(tenant_id)

    assert first.id == second.id
    await lab.settle(first)


async def test_a_tenant_cannot_be_restored_after_its_grace_nor_purged_before_it(lab):
    tenant_id = await lab.active("acme")
    await lab.settle(await lab.delete(tenant_id))
    ask: dict[str, Any] = {"actor": ACTOR, "deadline_s": 300}

    async with lab.parts.control.begin() as conn:
        with pytest.raises(InvalidState, match="over"):
            await lifecycle.restore(conn, tenant_id, grace=timedelta(0), **ask)
        with pytest.raises(InvalidState, match="not over"):
            await lifecycle.purge(
                conn,
                tenant_id,
                grace=timedelta(days=30),
                confirm="acme",
                skip_grace=False,
                **ask,
            )
        purging = await lifecycle.purge(
            conn, tenant_id, grace=timedelta(0), confirm="acme", skip_grace=False, **ask
        )
    assert (await lab.settle(purging)).state == "succeeded"


async def test_a_repair_puts_back_the_record_and_never_an_empty_schema(lab):
    tenant_id = await lab.active("acme")
    lab.dns.records.pop("acme")

    async with lab.parts.control.begin() as conn:
        repair = await lifecycle.repair(conn, tenant_id, actor=ACTOR, deadline_s=300)
    assert (await lab.settle(repair)).state == "succeeded"
    assert "acme" in lab.dns.records

    missing = dict(lab.steps)
    missing["inspect"] = Blind()
    lab.steps = missing
    async with lab.parts.control.begin() as conn:
        repair = await lifecycle.repair(conn, tenant_id, actor=ACTOR, deadline_s=300)
    ended = await lab.settle(repair)
    assert ended.state == "failed"
    assert {step.state for step in ended.steps} == {"pending"}


class Blind(Inspect):
    """Does not find the tenant's schema."""

    async def observe(self, _tx: Any, _target: Any) -> bool:
        return False
