"""What a sweep found is kept, with when it was seen first; every kind of finding at once."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from controlplane import worker
from controlplane.domain.drift import Finding, Kind
from controlplane.domain.naming import Mark, schema_name
from controlplane.errors import Permanent, ProviderUnavailable
from controlplane.store import census, findings
from controlplane_dns.memory import Fault
from tests.engine.faults import Failure
from tests.engine.looking import age, listed, mark, repaired
from tests.engine.plans_under_test import found, plant

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


async def kept(lab):
    """(kind, subject): when it was seen first."""
    async with lab.parts.control.connect() as conn:
        seen = await findings.page(conn, limit=100)
    return {(each.finding.kind.value, each.finding.subject): each.first_seen_at for each in seen}


async def looked(lab):
    async with lab.parts.control.connect() as conn:
        return await findings.newest_look(conn)


async def test_a_sweep_keeps_what_it_found_and_since_when(lab):
    reaper = worker.open_reaper(lab.parts)
    assert await looked(lab) is None
    await reaper.sweep()
    first, nothing = await looked(lab), await kept(lab)
    await lab.sql("UPDATE public.tenants SET state = 'deleting' WHERE subdomain = 'globex'")
    await reaper.sweep()
    before = await kept(lab)
    await plant(lab, uuid4(), record="orphan")
    await worker.open_reaper(lab.parts).sweep()
    after = await kept(lab)

    assert (nothing, set(before)) == ({}, {("tenant_without_operation", "globex")})
    assert set(after) == await listed(lab) == {*before, ("record_without_tenant", "orphan")}
    assert {key: after[key] for key in before} == before
    assert after["record_without_tenant", "orphan"] == (await looked(lab)).looked_at
    assert (await looked(lab)).looked_at > first.looked_at
    await lab.sql("UPDATE public.tenants SET state = 'active' WHERE subdomain = 'globex'")
    await repaired(lab)
    await reaper.sweep()
    assert await kept(lab) == {}


async def test_a_look_that_began_earlier_does_not_overwrite_a_later_one(lab):
    async with lab.parts.owner.begin() as conn:
        now = await findings.now(conn)
        newer = Finding(Kind.RECORD_MISSING, "newer", uuid4(), "no record")
        assert await findings.keep(conn, [newer], looked_at=now)
        assert not await findings.keep(conn, [], looked_at=now - timedelta(seconds=1))

    assert set(await kept(lab)) == {("record_missing", "newer")}
    assert (await looked(lab)).looked_at == now


async def test_a_look_of_the_future_was_dated_by_a_wrong_clock_and_is_overwritten(lab):
    async with lab.parts.owner.begin() as conn:
        now = await findings.now(conn)
        stale = Finding(Kind.RECORD_MISSING, "stale", uuid4(), "no record")
        assert await findings.keep(conn, [stale], looked_at=now + timedelta(days=365))
        assert await findings.keep(conn, [], looked_at=now)

    assert await kept(lab) == {}
    assert (await looked(lab)).looked_at == now


async def test_two_sweeps_at_once_leave_one_report(lab):
    await plant(lab, uuid4(), record="orphan")
    reapers = [worker.open_reaper(lab.parts) for _ in range(3)]
    await asyncio.gather(*(reaper.sweep() for reaper in reapers))

    assert set(await kept(lab)) == {("record_without_tenant", "orphan")}
    await repaired(lab)


async def test_a_zone_that_cannot_be_read_leaves_the_report_to_grow_old(lab):
    reaper = worker.open_reaper(lab.parts)
    await reaper.sweep()
    before = await looked(lab)
    lab.dns.faults.append(Fault(method="owned", error=ProviderUnavailable("no answer")))
    await reaper.sweep()

    after = await looked(lab)
    assert (after.looked_at, after.age_s > before.age_s) == (before.looked_at, True)


async def test_a_finding_that_only_a_newer_release_knows_is_left_out_and_counted(lab):
    await lab.sql(
        "INSERT INTO public.drift_findings (kind, subject, tenant_id, detail, first_seen_at)"
        " VALUES ('of_tomorrow', 'x', gen_random_uuid(), 'x', now())"
    )
    async with lab.parts.control.connect() as conn:
        assert await findings.current(conn) == []
        counted = await census.take(conn)

    assert await kept(lab) == {}
    assert counted.findings["of_tomorrow"] == 1


async def test_an_operation_that_goes_on_long_after_its_deadline_is_told(lab):
    lab.steps = Failure("verify", "ensure", error=ProviderUnavailable("away"), times=99).wrap(
        healthy := dict(lab.steps)
    )
    operation = await lab.create("acme")
    await lab.drive_once()
    waiting = await lab.create("hooli")
    await overdue(lab, waiting, "11 minutes")
    assert await listed(lab) == set(), "before its first claim its time does not run"
    await overdue(lab, operation, "9 minutes")
    assert await listed(lab) == set()
    await overdue(lab, operation, "11 minutes")

    assert [(f.kind.value, f.subject, f.detail) for f in await found(lab)] == [
        ("operation_stuck", str(operation.id), "'provision' goes on long after its deadline")
    ]
    assert await repaired(lab) == []
    lab.steps = healthy
    await lab.settle(operation)
    await lab.settle(waiting)


async def lacks_admin(lab, tenant_id):
    """As a worker saw it when it compared schemas."""
    await lab.sql("INSERT INTO public.structure_look (begun_at, looked_at) VALUES (now(), now())")
    await lab.sql(
        "INSERT INTO public.structure_drift (tenant_id, differences, lacks_admin, first_seen_at)"
        " VALUES (:id, '[]', true, now())",
        id=tenant_id,
    )


async def overdue(lab, operation, by):
    await lab.sql(
        "UPDATE public.operations SET deadline_at = clock_timestamp() - CAST(:by AS interval)"
        " WHERE id = :id",
        by=by,
        id=operation.id,
    )


async def test_every_kind_is_found_beside_the_others_and_counted(lab):
    acme, hooli = await lab.active("acme"), await lab.active("hooli")
    stranger, lost = schema_name(acme), uuid4()
    await mark(lab, stranger, ["schema"], "somebody else's")
    del lab.dns.records["hooli"]
    await plant(lab, lost, "schema", "role", record="orphan")
    lab.steps = Failure("admin", "absent", error=Permanent("stuck")).wrap(
        Failure("verify", "ensure").wrap(healthy := dict(lab.steps))
    )
    parked = await lab.settle(await lab.create("initech"))
    lab.steps = healthy
    nowhere = await lab.active("vandelay")
    await lab.sql("UPDATE public.tenants SET state = 'deleting' WHERE id = :id", id=nowhere)
    waiting = await lab.create("umbrella")
    await age(lab, waiting, "11 minutes")
    await lab.sql("UPDATE public.tenants SET revision = 'core_0001' WHERE id = :id", id=hooli)
    await lacks_admin(lab, hooli)

    await worker.open_reaper(lab.parts).sweep()
    async with lab.parts.control.connect() as conn:
        counted = await census.take(conn)

    one_each = {kind.value: 1 for kind in Kind}
    assert counted.findings == {**one_each, "operation_stuck": 2}
    assert set(await kept(lab)) == {
        ("tenant_without_schema", stranger),
        ("record_missing", "hooli"),
        ("schema_without_tenant", schema_name(lost)),
        ("role_without_tenant", schema_name(lost)),
        ("record_without_tenant", "orphan"),
        ("operation_stuck", str(parked.id)),
        ("operation_stuck", str(waiting.id)),
        ("tenant_without_operation", "vandelay"),
        ("tenant_without_admin", "hooli"),
        ("tenant_behind", "hooli"),
    }
    assert (counted.operations["parked"], counted.operations["pending"]) == (1, 1)
    assert counted.tenants == {
        **dict.fromkeys(counted.tenants, 0),
        "active": 3,
        "deleting": 1,
        "provisioning": 2,
    }
    assert counted.mails["sent"] == 4
    assert counted.oldest_due_s >= 660
    assert counted.looked == (await looked(lab)).looked_at.timestamp()

    await mark(lab, stranger, ["schema"], str(Mark(lab.parts.installation, acme, uuid4())))
    await lab.sql("UPDATE public.tenants SET state = 'active' WHERE id = :id", id=nowhere)
    await repaired(lab)
    assert hooli in {row.id for row in await lab.sql("SELECT id FROM public.tenants")}
    await lab.settle(waiting)
