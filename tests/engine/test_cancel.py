"""Cancel at every boundary, the race with the pivot, the deadline, and retry after a rollback."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from controlplane.errors import InvalidState, OperationInProgress, SubdomainTaken
from controlplane.provisioning import lifecycle, requests
from controlplane.provisioning.plans import PROVISION
from controlplane.provisioning.steps.repair import Inspect
from controlplane.store.operations import OperationView
from tests.engine.faults import Failure
from tests.engine.lab import ACTOR, Lab
from tests.engine.names import outlast_holds
from tests.engine.test_kill import LOCAL, REMOTE
from tests.engine.world import assert_world, fingerprint

pytestmark = [pytest.mark.anyio]

PLACES = [
    f"step:{step.name}:{place}"
    for step in PROVISION.steps
    for place in (LOCAL if step.reach == "local" else REMOTE)
]
# Inside an open local transaction the row is locked, and the cancel is seen at the next fence.
PAST_THE_PIVOT = {f"step:activate:{p}" for p in LOCAL if p != "before-begin"}
# The cancel waits for this commit, and then for the row against the pivot itself.
RACING = "step:verify:before-commit"


async def cancel(lab, operation):
    async with lab.parts.control.begin() as conn:
        return await requests.cancel(conn, operation.id, actor=ACTOR)


@pytest.mark.parametrize("place", PLACES)
async def test_a_cancel_at_any_boundary_has_exactly_one_outcome(lab, place):
    operation = await lab.create("acme")
    asked: list[asyncio.Task[bool]] = []

    async def cancel_here(here):
        if here == place and not asked:
            asked.append(asyncio.create_task(_ask(lab, operation)))
            await _answered_or_waiting(lab, asked[0])

    lab.failpoint = cancel_here
    ended = await lab.settle(operation)

    accepted = await asked[0]
    assert ended.state == ("cancelled" if accepted else "succeeded")
    if place != RACING:
        assert accepted == (place not in PAST_THE_PIVOT)
    if accepted:
        assert ended.error["code"] == "cancelled"
    await assert_world(lab)


async def _answered_or_waiting(lab: Lab, task: asyncio.Task[bool]) -> None:
    """Until the cancel is through, or waits for the lock of the operation's row."""
    waiting = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
        " AND usename = 'cp_control' AND wait_event_type = 'Lock'"
    )
    # As the superuser: others do not see what a session waits for.
    connecting = psycopg.AsyncConnection.connect(lab.database.superuser_url, autocommit=True)
    async with await connecting as conn:
        while not task.done():
            if await (await conn.execute(waiting)).fetchone():
                return
            await asyncio.sleep(0.01)


async def _ask(lab: Lab, operation: OperationView) -> bool:
    try:
        await cancel(lab, operation)
    except InvalidState:
        return False
    return True


async def test_cancelling_what_was_never_begun_leaves_nothing(lab):
    operation = await lab.create("acme")
    await cancel(lab, operation)
    await cancel(lab, operation)

    ended = await lab.settle(operation)

    assert ended.state == "cancelled"
    assert {step.state for step in ended.steps} == {"pending"}


async def test_what_has_ended_cannot_be_cancelled(lab):
    operation = await lab.settle(await lab.create("acme"))
    with pytest.raises(InvalidState, match="succeeded"):
        await cancel(lab, operation)


async def test_an_operation_past_its_deadline_is_rolled_back(lab):
    operation = await lab.create("acme")

    async def late(place):
        if place == "step:dns:before-intent":
            await lab.sql(
                "UPDATE public.operations SET deadline_at = clock_timestamp() WHERE finished_at IS NULL"
            )

    lab.failpoint = late
    ended = await lab.settle(operation)

    assert ended.state == "failed"
    assert ended.error["code"] == "deadline_exceeded"


async def test_a_step_that_never_answers_is_cut_off_and_rolled_back_at_the_deadline(lab):
    operation = await lab.create("acme")
    lab.dns.pending = 1_000_000

    assert await lab.drive_once()
    assert (await lab.view(operation.id)).steps[2].state == "started"
    await lab.sql(
        "UPDATE public.operations SET deadline_at = clock_timestamp() WHERE finished_at IS NULL"
    )
    ended = await lab.settle(operation)

    assert ended.error["code"] == "deadline_exceeded"


async def test_a_change_that_spreads_slowly_is_waited_for_without_holding_the_worker(lab):
    lab.dns.pending = 3
    operation = await lab.create("acme")

    ended = await lab.settle(operation)

    assert ended.state == "succeeded"
    asked = [call for call in lab.dns.calls if call == ("ensure", "acme")]
    assert len(asked) == 1, "the change was made again instead of being asked about"


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
