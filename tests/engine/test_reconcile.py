"""What does not fit together is found whole and alone, and set right by operations alone."""

import asyncio
import json
from datetime import timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from controlplane.cli.root import run
from controlplane.domain.dns import record_for
from controlplane.domain.naming import Mark, Subdomain, schema_name
from controlplane.errors import Permanent
from controlplane.provisioning import reconcile, requests
from tests.engine.faults import Failure
from tests.engine.lab import ACTOR, environment, open_lab
from tests.engine.plans_under_test import found, plant
from tests.engine.world import assert_world, fingerprint

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


async def listed(lab):
    return {(finding.kind.value, finding.subject) for finding in await found(lab)}


async def repaired(lab, findings=None):
    """The operations that a repair has begun, brought to their ends."""
    findings = await found(lab) if findings is None else findings
    async with lab.parts.owner.begin() as conn:
        begun = await reconcile.repair(conn, findings, actor=ACTOR, deadline_s=300)
    return [await lab.settle(await lab.view(operation_id)) for operation_id in begun]


async def state_of(lab, tenant_id):
    (row,) = await lab.sql("SELECT state FROM public.tenants WHERE id = :id", id=tenant_id)
    return row.state


async def failed(lab, subdomain):
    healthy = dict(lab.steps)
    lab.steps = Failure("verify", "ensure").wrap(lab.steps)
    operation = await lab.settle(await lab.create(subdomain))
    lab.steps = healthy
    assert operation.state == "failed"
    return operation.tenant_id


async def deleted(lab, subdomain):
    tenant_id = await lab.active(subdomain)
    await lab.settle(await lab.delete(tenant_id))
    return tenant_id


# -- what is listed ------------------------------------------------------------------------------


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
    await _mark(lab, schema_name(acme), [dropped], "somebody else's")
    del lab.dns.records["acme"]

    assert await listed(lab) == {
        ("tenant_without_schema", schema_name(acme)),
        ("record_missing", "acme"),
    }
    assert await repaired(lab) == []
    await _mark(lab, schema_name(acme), [dropped], str(Mark(lab.parts.installation, acme, uuid4())))
    assert len(await repaired(lab)) == 1


async def _mark(lab, name, things, comment):
    with psycopg.connect(lab.database.superuser_url, autocommit=True) as conn:
        for thing in things:
            statement = sql.SQL("COMMENT ON {} {} IS {}").format(
                sql.SQL(thing.upper()), sql.Identifier(name), sql.Literal(comment)
            )
            conn.execute(statement)


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


async def age(lab, operation, age):
    await lab.sql(
        "UPDATE public.operations SET run_at = clock_timestamp() - CAST(:age AS interval)"
        " WHERE id = :id",
        age=age,
        id=operation.id,
    )


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


# -- what is never touched -----------------------------------------------------------------------


async def test_what_is_foreign_is_never_listed_and_never_touched(lab, other_database):
    """Schemas and roles of a tenant's name without a mark, with a wrong one, with another's."""
    tenant_id = await failed(lab, "acme")
    lab.dns.place_foreign("initech")
    theirs = Mark(other_database.installation, uuid4(), uuid4())
    await lab.dns.ensure(record_for(Subdomain("theirs"), "192.0.2.7"), theirs)
    ours = f"controlplane/{lab.parts.installation}"
    foreign = {
        schema_name(tenant_id): None,
        schema_name(uuid4()): "a mark of nobody's",
        schema_name(uuid4()): f"{ours}/{tenant_id}/{tenant_id}",
        schema_name(uuid4()): f"{ours}/not-a-mark",
        schema_name(theirs.tenant): str(theirs),
        f"x{schema_name(uuid4())}": f"{ours}/{tenant_id}/{tenant_id}",
    }
    with psycopg.connect(lab.database.superuser_url, autocommit=True) as conn:
        for name in foreign:
            conn.execute(sql.SQL("CREATE SCHEMA {0}; CREATE ROLE {0}").format(sql.Identifier(name)))
        try:
            for name, comment in foreign.items():
                await _mark(lab, name, ["schema", "role"], comment)
            assert await listed(lab) == set()
            # Beside them, something of ours that does go.
            await plant(lab, (stranger := uuid4()), "schema", "role", record="orphan")
            await repaired(lab)

            names = "SELECT nspname FROM pg_namespace JOIN pg_roles ON rolname = nspname"
            assert {name for (name,) in conn.execute(names)} >= foreign.keys()
            assert schema_name(stranger) not in {name for (name,) in conn.execute(names)}
            assert (lab.dns.records["theirs"].mark, lab.dns.foreign) == (
                theirs,
                {"initech": "192.0.2.1"},
            )
        finally:
            for name in foreign:
                conn.execute(sql.SQL("DROP SCHEMA {0}; DROP ROLE {0}").format(sql.Identifier(name)))


async def test_two_installations_list_and_remove_their_own_orphans_only(
    database, other_database, tmp_path
):
    async with (
        open_lab(database, tmp_path, real_files=True) as ours,
        open_lab(other_database, tmp_path, real_files=True) as theirs,
    ):
        globex = await theirs.active("globex")
        before = await fingerprint(theirs, globex)
        mine, other = uuid4(), uuid4()
        await plant(ours, mine, "schema", "role", record="acme")
        await plant(theirs, other, "schema", "role", record="hooli")

        assert await listed(theirs) == orphans(other, "hooli")
        assert await listed(ours) == orphans(mine, "acme")
        assert len(await repaired(ours)) == 1

        assert await listed(ours) == set()
        assert await listed(theirs) == orphans(other, "hooli")
        assert await fingerprint(theirs, globex) == before
        await assert_world(ours)
        assert len(await repaired(theirs)) == 1
        await assert_world(theirs)


def orphans(tenant_id: UUID, record: str) -> set[tuple[str, str]]:
    return {
        ("schema_without_tenant", schema_name(tenant_id)),
        ("role_without_tenant", schema_name(tenant_id)),
        ("record_without_tenant", record),
    }


# -- what is repaired, and when ------------------------------------------------------------------


async def test_repairing_twice_is_repairing_once(lab):
    gone = await failed(lab, "acme")
    await plant(lab, gone, record="acme")
    await plant(lab, uuid4(), record="hooli")
    findings = await found(lab)

    async def repair():
        async with lab.parts.owner.begin() as conn:
            return await reconcile.repair(conn, findings, actor=ACTOR, deadline_s=300)

    begun = await asyncio.gather(repair(), repair())
    assert sorted(map(len, begun)) == [0, 2]
    assert await repair() == []
    for operation_id in [*begun[0], *begun[1]]:
        await lab.settle(await lab.view(operation_id))
    assert await listed(lab) == set()


async def test_a_finding_that_is_out_of_date_does_no_harm(lab):
    """Between the look and the repair the tenant is provisioned, restored or found its record."""
    gone, kept, acme = await failed(lab, "initech"), await deleted(lab, "hooli"), uuid4()
    await plant(lab, gone, "schema", "role", record="initech")
    await plant(lab, kept, record="hooli")
    stale = await found(lab)
    await repaired(lab)
    async with lab.parts.control.begin() as conn:
        again = await requests.provision_again(conn, gone, actor=ACTOR, deadline_s=300)
    assert (await repaired(lab, [f for f in stale if f.tenant_id == gone])) == []
    await lab.settle(again)
    before = await fingerprint(lab, gone)

    assert [o.tenant_id for o in await repaired(lab, stale)] == [kept]

    assert await fingerprint(lab, gone) == before
    assert acme not in {o.tenant_id for o in await repaired(lab)}


async def test_a_clean_whose_tenant_lives_again_stops_at_its_pivot(lab):
    """It cannot come to this by requests; the pivot looks all the same."""
    gone = await failed(lab, "acme")
    await plant(lab, gone, "schema", "role", record="acme")
    async with lab.parts.owner.begin() as conn:
        (begun,) = await reconcile.repair(conn, await found(lab), actor=ACTOR, deadline_s=300)
    await lab.sql("UPDATE public.tenants SET state = 'provisioning' WHERE id = :id", id=gone)
    await lab.sql(
        "UPDATE public.operations SET params = params || jsonb_build_object('from_state',"
        " 'provisioning') WHERE id = :id",
        id=begun,
    )

    ended = await lab.settle(await lab.view(begun))

    assert (ended.state, ended.error["step"]) == ("failed", "disown")
    assert "acme" in lab.dns.records
    assert await listed(lab) == {("tenant_without_operation", "acme")}
    await lab.sql("UPDATE public.tenants SET state = 'failed' WHERE id = :id", id=gone)
    assert [o.state for o in await repaired(lab)] == ["succeeded"]


# -- the command ---------------------------------------------------------------------------------


async def test_the_command_lists_repairs_and_says_so_by_its_exit_code(
    database, tmp_path, monkeypatch, capsys
):
    for name, value in environment(database, tmp_path).items():
        monkeypatch.setenv(name, value)

    async def call(*arguments):
        capsys.readouterr()
        code = await asyncio.to_thread(run, ["reconcile", *arguments])
        return code, capsys.readouterr()

    async with open_lab(database, tmp_path, real_files=True) as lab:
        await lab.active("globex")
        code, told = await call("--dry-run")
        assert (code, told.out, told.err) == (0, "", "Everything fits together.\n")
        await plant(lab, (stranger := uuid4()), record="orphan")

        code, told = await call("--dry-run", "--output", "json")
        assert (code, told.err) == (1, "")
        finding = {
            "kind": "record_without_tenant",
            "subject": "orphan",
            "tenant_id": str(stranger),
            "detail": "there is no such tenant",
        }
        assert json.loads(told.out) == {"findings": [finding], "operations": []}
        code, told = await call("--dry-run")
        assert (code, told.out.split()[:4]) == (1, ["KIND", "SUBJECT", "TENANT", "DETAIL"])
        assert await lab.sql("SELECT 1 FROM public.tenants WHERE id = :id", id=stranger) == []

        code, told = await call("--output", "json")
        assert code == 0
        (begun,) = json.loads(told.out)["operations"]
        assert (await lab.settle(await lab.view(UUID(begun)))).state == "succeeded"
        assert (await call("--dry-run"))[0] == 0
        await assert_world(lab)
