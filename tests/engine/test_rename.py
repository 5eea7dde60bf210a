"""A rename serves exactly one name wherever it stands, and keeps both from everybody else."""

from datetime import timedelta

import pytest

from controlplane import worker
from controlplane.domain.naming import Subdomain
from controlplane.errors import Permanent, ProviderUnavailable, SubdomainQuarantined, SubdomainTaken
from controlplane.provisioning import lifecycle, requests
from controlplane.routing import Ages
from controlplane_dns.memory import Fault
from tests.engine.faults import Failure
from tests.engine.lab import ACTOR, open_lab
from tests.engine.looking import deleted, failed, listed, repaired, state_of
from tests.engine.names import is_free, outlast_holds
from tests.engine.plans_under_test import plant
from tests.engine.world import assert_world

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]

OLD, NEW = "acme", "acme-new"


async def rename(lab, tenant_id, name=NEW):
    async with lab.parts.control.begin() as conn:
        return await lifecycle.rename(
            conn, tenant_id, subdomain=Subdomain(name), actor=ACTOR, deadline_s=300
        )


async def served(lab, tenant_id):
    """The names under which app servers find the tenant, asked as they ask."""
    async with lab.parts.app_pool.connection() as conn:
        found = await conn.execute(
            "SELECT subdomain FROM public.tenant_registry WHERE id = %s", [tenant_id]
        )
        return [name for (name,) in await found.fetchall()]


async def holds(lab):
    rows = await lab.sql("SELECT subdomain, why, tenant_id FROM public.subdomain_holds")
    return {(row.subdomain, row.why): row.tenant_id for row in rows}


@pytest.mark.parametrize("ends", ["succeeded", "failed"])
async def test_wherever_it_stands_one_name_is_served_and_works_and_neither_is_free(lab, ends):
    tenant_id = await lab.active(OLD)
    if ends == "failed":
        lab.steps = Failure("switch", "ensure", after_effect=True).wrap(lab.steps)
    lasting = []

    async def look(place):
        (name,) = await served(lab, tenant_id)
        lasting.append(name)
        assert lab.dns.records[name].mark.tenant == tenant_id
        assert not await is_free(lab, OLD)
        # A rename that failed keeps its name for a moment longer.
        assert not await is_free(lab, NEW)
        if not place.startswith("operation:rename:after-finish"):
            assert await listed(lab) == set()

    operation = await rename(lab, tenant_id)
    nowhere, lab.failpoint = lab.failpoint, look
    assert (await lab.settle(operation)).state == ends
    lab.failpoint = nowhere

    switched = lasting.index(NEW) if NEW in lasting else len(lasting)
    assert set(lasting[:switched]) == {OLD}
    assert set(lasting[switched:]) == ({NEW} if ends == "succeeded" else set())
    await assert_world(lab)


async def test_a_renamed_tenant_has_one_record_one_name_and_its_data(lab):
    tenant_id = await lab.active(OLD)

    ended = await lab.settle(await rename(lab, tenant_id))

    assert [step.name for step in ended.steps] == ["new_record", "switch", "old_record"]
    assert set(lab.dns.records) == {NEW, "globex"}
    assert await holds(lab) == {(OLD, "released"): tenant_id}
    assert await listed(lab) == set()
    with pytest.raises(SubdomainQuarantined):
        await lab.create(OLD)
    with pytest.raises(SubdomainTaken):
        await lab.create(NEW)


async def test_a_suspended_tenant_is_renamed_and_stays_suspended(lab):
    tenant_id = await lab.active(OLD)
    async with lab.parts.control.begin() as conn:
        suspending = await lifecycle.suspend(conn, tenant_id, actor=ACTOR, deadline_s=300)
    await lab.settle(suspending)

    assert (await lab.settle(await rename(lab, tenant_id))).state == "succeeded"

    assert await state_of(lab, tenant_id) == "suspended"
    assert await served(lab, tenant_id) == [NEW]


async def test_there_and_back_again_leaves_only_the_other_name_held(lab):
    tenant_id = await lab.active(OLD)
    for name in (NEW, OLD, NEW, OLD):
        assert (await lab.settle(await rename(lab, tenant_id, name))).state == "succeeded"
        await assert_world(lab)

    assert await holds(lab) == {(NEW, "released"): tenant_id}
    assert set(lab.dns.records) == {OLD, "globex"}


async def test_a_way_back_that_fails_does_not_shorten_the_quarantine(lab):
    tenant_id = await lab.active(OLD)
    await lab.settle(await rename(lab, tenant_id))
    before = (
        "SELECT until FROM public.subdomain_holds WHERE subdomain = 'acme' AND why = 'released'"
    )
    (held,) = await lab.sql(before)
    healthy, lab.steps = lab.steps, Failure("switch", "ensure").wrap(lab.steps)

    assert (await lab.settle(await rename(lab, tenant_id, OLD))).state == "failed"

    lab.steps = healthy
    assert await lab.sql(before) == [held]
    assert set(await holds(lab)) == {(OLD, "released"), (OLD, "undone")}
    assert await served(lab, tenant_id) == [NEW]


@pytest.mark.parametrize("worked", [False, True], ids=["pending", "at-work"])
async def test_a_cancelled_rename_lets_go_of_its_name_and_may_be_tried_again_at_once(lab, worked):
    tenant_id = await lab.active(OLD)
    operation = await rename(lab, tenant_id)
    if worked:
        lab.dns.pending = 1
        await lab.drive_once()
        assert NEW in lab.dns.records
    async with lab.parts.control.begin() as conn:
        await requests.cancel(conn, operation.id, actor=ACTOR)

    assert (await lab.settle(operation)).state == "cancelled"

    lab.dns.pending = 0
    assert set(lab.dns.records) == {OLD, "globex"}
    assert await holds(lab) == {(NEW, "undone"): tenant_id}
    with pytest.raises(SubdomainQuarantined):
        await lab.create(NEW)
    await assert_world(lab)
    assert (await lab.settle(await rename(lab, tenant_id))).state == "succeeded"


async def test_a_foreign_record_of_the_new_name_stops_the_rename_and_stays(lab):
    tenant_id = await lab.active(OLD)
    lab.dns.place_foreign(NEW, "198.51.100.9")

    ended = await lab.settle(await rename(lab, tenant_id))

    assert (ended.state, ended.error["code"]) == ("failed", "dns_conflict")
    assert lab.dns.foreign == {NEW: "198.51.100.9"}
    assert await served(lab, tenant_id) == [OLD]
    assert OLD in lab.dns.records


async def test_a_record_that_a_rename_left_is_found_and_removed_and_only_then_its_name_is_free(lab):
    tenant_id = await lab.active(OLD)
    healthy = lab.steps
    lab.steps = Failure("old_record", "absent", error=Permanent("stuck")).wrap(lab.steps)
    parked = await lab.settle(await rename(lab, tenant_id))
    lab.steps = healthy
    assert parked.state == "parked"
    assert await listed(lab) == {("operation_stuck", str(parked.id))}
    async with lab.parts.control.begin() as conn:
        await requests.abandon(
            conn,
            parked.id,
            reason="x",
            comment="x",
            by="x",
            quarantine=timedelta(days=30),
            actor=ACTOR,
        )
    await outlast_holds(lab)

    assert await listed(lab) == {("record_without_tenant", OLD)}
    assert not await is_free(lab, OLD)
    (cleaned,) = await repaired(lab)

    assert cleaned.state == "succeeded"
    assert await is_free(lab, OLD)
    assert await served(lab, tenant_id) == [NEW]
    assert NEW in lab.dns.records


async def test_a_second_record_without_a_rename_is_an_orphan_whoever_is_renamed_beside_it(lab):
    tenant_id = await lab.active(OLD)
    await lab.settle(await rename(lab, tenant_id))
    await plant(lab, tenant_id, record="acme-older")

    assert await listed(lab) == {("record_without_tenant", "acme-older")}
    await repaired(lab)
    assert await listed(lab) == set()


async def test_an_abandoned_rename_that_was_being_undone_keeps_its_name_for_the_quarantine(lab):
    tenant_id = await lab.active(OLD)
    lab.dns.faults.append(Fault("absent", ProviderUnavailable("away"), times=8))
    healthy, lab.steps = lab.steps, Failure("switch", "ensure").wrap(lab.steps)
    parked = await lab.settle(await rename(lab, tenant_id))
    lab.steps = healthy
    assert parked.state == "parked"
    with pytest.raises(SubdomainTaken):
        await lab.create(NEW)

    async with lab.parts.control.begin() as conn:
        await requests.abandon(
            conn,
            parked.id,
            reason="x",
            comment="x",
            by="x",
            quarantine=timedelta(days=30),
            actor=ACTOR,
        )

    (held,) = await lab.sql(
        "SELECT why, until > clock_timestamp() + interval '29 days' AS long"
        " FROM public.subdomain_holds"
    )
    assert tuple(held) == ("undone", True)
    (cleaned,) = await repaired(lab)
    assert cleaned.state == "succeeded"
    assert set(lab.dns.records) == {OLD, "globex"}


# -- quarantine without a rename --------------------------------------------------------------------


async def test_without_a_quarantine_a_name_rests_until_no_app_server_believes_in_it(
    database, tmp_path
):
    async with open_lab(database, tmp_path, more={"CONTROLPLANE_QUARANTINE_DAYS": "0"}) as lab:
        for step in ("switch", "bury"):
            assert lab.steps[step].quarantine > 10 * timedelta(seconds=Ages().fresh_s)


async def test_a_purged_tenants_name_is_free_for_others_when_its_quarantine_is_over(lab):
    tenant_id = await deleted(lab, OLD)
    with pytest.raises(SubdomainTaken):
        await lab.create(OLD)
    async with lab.parts.control.begin() as conn:
        purging = await lifecycle.purge(
            conn,
            tenant_id,
            confirm=OLD,
            skip_grace=True,
            grace=timedelta(days=30),
            actor=ACTOR,
            deadline_s=300,
        )
    await lab.settle(purging)
    with pytest.raises(SubdomainQuarantined):
        await lab.create(OLD)

    await outlast_holds(lab)
    heir = await lab.active(OLD)

    assert lab.dns.records[OLD].mark.tenant == heir
    await worker.open_reaper(lab.parts).sweep()
    assert await holds(lab) == {}


async def test_the_name_of_a_failed_provisioning_is_kept_from_others_and_not_from_its_tenant(lab):
    tenant_id = await failed(lab, OLD)
    (held,) = await lab.sql(
        "SELECT until - created_at BETWEEN '39 s' AND '41 s' AS as_long_as_a_call"
        " FROM public.subdomain_holds"
    )
    assert held.as_long_as_a_call
    with pytest.raises(SubdomainQuarantined):
        await lab.create(OLD)

    async with lab.parts.control.begin() as conn:
        again = await requests.provision_again(conn, tenant_id, actor=ACTOR, deadline_s=300)
    assert (await lab.settle(again)).state == "succeeded"
    assert await holds(lab) == {}


async def test_purging_a_failed_tenant_does_not_touch_the_hold_of_its_successors_name(lab):
    tenant_id = await failed(lab, OLD)
    await outlast_holds(lab)
    successor = await lab.active(OLD)

    await lab.settle(await lab.delete(tenant_id))

    await worker.open_reaper(lab.parts).sweep()
    assert await holds(lab) == {}
    assert (await lab.settle(await rename(lab, successor))).state == "succeeded"
