"""What does not fit together is listed whole and alone, and set right by operations alone."""

from collections import Counter
from datetime import timedelta
from uuid import uuid4

import pytest

from controlplane.domain.dns import record_for
from controlplane.domain.naming import Mark, Subdomain, schema_name
from controlplane.errors import Permanent, ProviderBusy
from controlplane.provisioning import requests
from tests.engine.faults import Failure
from tests.engine.lab import ACTOR
from tests.engine.looking import age, deleted, failed, listed, mark, repaired, state_of
from tests.engine.plans_under_test import plant
from tests.engine.world import fingerprint

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


async def test_where_everything_fits_nothing_is_listed(lab):
    await lab.active("acme")
    await failed(lab, "initech")
    await deleted(lab, "hooli")

    assert await listed(lab) == set()
    assert await repaired(lab) == []


async def test_an_operation_on_its_way_is_no_finding_wherever_it_stands(lab):
    seen = set()

    async def look(_place):
        seen.update(await listed(lab))

    nowhere, lab.failpoint = lab.failpoint, look
    tenant_id = await lab.active("acme")
    lab.steps = Failure("verify", "ensure").wrap(lab.steps)
    await lab.settle(await lab.create("initech"))
    await lab.settle(await lab.delete(tenant_id))
    lab.failpoint = nowhere

    assert seen == set()


@pytest.mark.parametrize("things", [("schema",), ("role",), ("schema", "role")])
async def test_a_marked_schema_or_role_without_a_tenant_is_listed_and_removed(lab, things):
    stranger, tenant_id = uuid4(), await failed(lab, "acme")
    for owner in (stranger, tenant_id):
        await plant(lab, owner, *things)

    assert await listed(lab) == {
        (f"{thing}_without_tenant", schema_name(owner))
        for owner in (stranger, tenant_id)
        for thing in things
    }
    ended = await repaired(lab)

    assert [(o.kind, o.state) for o in ended] == [("clean", "succeeded")] * 2
    assert await listed(lab) == set()
    assert await state_of(lab, stranger) == await state_of(lab, tenant_id) == "failed"


async def test_a_record_without_a_tenant_is_listed_and_removed_whatever_became_of_the_tenant(lab):
    stranger, gone, kept = uuid4(), await failed(lab, "acme"), await deleted(lab, "hooli")
    await plant(lab, stranger, record="initech")
    await plant(lab, gone, record="acme")
    await plant(lab, kept, record="hooli")

    assert await listed(lab) == {
        ("record_without_tenant", name) for name in ("initech", "acme", "hooli")
    }
    ended = await repaired(lab)

    assert {o.state for o in ended} == {"succeeded"}
    assert await listed(lab) == set()
    assert set(lab.dns.records) == {"globex"}
    assert await state_of(lab, kept) == "deleted"
    (row,) = await lab.sql("SELECT * FROM public.tenants WHERE id = :id", id=stranger)
    assert (row.state, row.subdomain, row.revision) == ("failed", "initech", None)


async def test_what_an_abandoned_operation_left_goes_from_the_inventory_too(lab):
    lab.steps = Failure("schema", "absent", error=Permanent("stuck")).wrap(
        Failure("verify", "ensure").wrap(healthy := dict(lab.steps))
    )
    parked = await lab.settle(await lab.create("acme"))
    lab.steps = healthy
    async with lab.parts.owner.begin() as conn:
        await requests.abandon(
            conn,
            parked.id,
            reason="unfixable",
            comment="no",
            by="ada",
            quarantine=timedelta(days=30),
            actor=ACTOR,
        )

    assert await listed(lab) == {
        (f"{thing}_without_tenant", schema_name(parked.tenant_id)) for thing in ("schema", "role")
    }
    await repaired(lab)

    assert await listed(lab) == set()
    held = "SELECT kind FROM public.tenant_resources WHERE tenant_id = :id"
    assert await lab.sql(held, id=parked.tenant_id) == []


async def test_a_record_of_another_name_goes_and_the_tenant_stays_as_it_was(lab):
    acme, hooli = await lab.active("acme"), await deleted(lab, "hooli")
    before = {tenant_id: await fingerprint(lab, tenant_id) for tenant_id in (acme, hooli)}
    for tenant_id, name in [(acme, "acme-old"), (acme, "acme-older"), (hooli, "hooli-old")]:
        await plant(lab, tenant_id, record=name)

    assert await listed(lab) == {
        ("record_without_tenant", name) for name in ("acme-old", "acme-older", "hooli-old")
    }
    await repaired(lab)
    assert await listed(lab) == {("record_without_tenant", "acme-older")}
    await repaired(lab)

    assert await listed(lab) == set()
    assert {t: await fingerprint(lab, t) for t in (acme, hooli)} == {
        t: {**b, "row": (await fingerprint(lab, t))["row"]} for t, b in before.items()
    }
    assert {await state_of(lab, acme), await state_of(lab, hooli)} == {"active", "deleted"}


async def test_a_record_that_is_missing_or_leads_elsewhere_is_listed_and_made_again(lab):
    acme, hooli = await lab.active("acme"), await lab.active("hooli")
    del lab.dns.records["acme"]
    elsewhere = record_for(Subdomain("hooli"), "192.0.2.99")
    await lab.dns.ensure(elsewhere, Mark(lab.parts.installation, hooli, uuid4()))

    assert await listed(lab) == {("record_missing", "acme"), ("record_missing", "hooli")}
    ended = await repaired(lab)

    assert {(o.kind, o.state, o.tenant_id) for o in ended} == {
        ("repair", "succeeded", acme),
        ("repair", "succeeded", hooli),
    }
    assert await listed(lab) == set()


@pytest.mark.parametrize("dropped", ["schema", "role"])
async def test_a_tenant_without_its_schema_is_told_and_nothing_is_put_in_its_place(lab, dropped):
    acme = await lab.active("acme")
    await mark(lab, schema_name(acme), [dropped], "somebody else's")
    del lab.dns.records["acme"]

    assert await listed(lab) == {
        ("tenant_without_schema", schema_name(acme)),
        ("record_missing", "acme"),
    }
    assert await repaired(lab) == []
    await mark(lab, schema_name(acme), [dropped], str(Mark(lab.parts.installation, acme, uuid4())))
    assert len(await repaired(lab)) == 1


async def test_what_is_stuck_is_told_and_left_to_an_operator(lab):
    lab.steps = Failure("admin", "absent", error=Permanent("stuck")).wrap(
        Failure("verify", "ensure").wrap(healthy := dict(lab.steps))
    )
    parked = await lab.settle(await lab.create("acme"))
    lab.steps = healthy
    waiting, fresh = await lab.create("hooli"), await lab.create("initech")
    await age(lab, waiting, "11 minutes")

    assert await listed(lab) == {
        ("operation_stuck", str(parked.id)),
        ("operation_stuck", str(waiting.id)),
    }
    assert await repaired(lab) == []
    await lab.sql(
        "UPDATE public.operations SET lease_expires_at = clock_timestamp() + interval '1 minute'"
        " WHERE id = :id",
        id=waiting.id,
    )
    assert await listed(lab) == {("operation_stuck", str(parked.id))}, "a worker has it"
    async with lab.parts.owner.begin() as conn:
        await requests.resume(conn, parked.id, actor=ACTOR)
    for operation in (parked, waiting, fresh):
        await lab.settle(operation)


async def test_a_tenant_on_its_way_without_an_operation_is_told(lab):
    acme = await lab.active("acme")
    await lab.sql("UPDATE public.tenants SET state = 'deleting' WHERE id = :id", id=acme)

    assert await listed(lab) == {("tenant_without_operation", "acme")}
    assert await repaired(lab) == []
    await lab.sql("UPDATE public.tenants SET state = 'active' WHERE id = :id", id=acme)


async def test_a_record_that_came_or_went_while_it_was_looked_is_no_finding(lab):
    acme, gone = await lab.active("acme"), await failed(lab, "hooli")
    await plant(lab, gone, record="hooli")
    lost, orphan = lab.dns.records.pop("acme"), lab.dns.records["hooli"]
    zone = lab.dns.owned

    async def owned(installation):
        async for record in zone(installation):
            yield record
        lab.dns.records["acme"] = lost
        lab.dns.records.pop("hooli", None)

    lab.dns.owned = owned
    assert await listed(lab) == set()
    lab.dns.owned = zone
    lab.dns.records["hooli"] = orphan
    assert await listed(lab) == {("record_without_tenant", "hooli")}
    await repaired(lab)
    assert await state_of(lab, acme) == "active"


async def test_records_that_must_queue_to_be_asked_about_are_listed_all_the_same(lab):
    names = ("acme", "hooli")
    for name in names:
        await plant(lab, uuid4(), record=name)
    find = lab.dns.find
    asked: Counter[str] = Counter()

    async def in_turn(record, mark):
        asked[record.name] += 1
        if asked[record.name] < 3:
            raise ProviderBusy("Somebody else's turn.", wait_s=0.01)
        return await find(record, mark)

    lab.dns.find = in_turn
    assert await listed(lab) == {("record_without_tenant", name) for name in names}
    assert asked == dict.fromkeys(names, 3)
    await repaired(lab)
