"""Only what carries our mark is ever destroyed; two installations do not see each other."""

from datetime import timedelta

import psycopg
import pytest
from psycopg import sql

from controlplane import worker
from controlplane.domain.naming import Mark
from controlplane.errors import Permanent, ProviderUnavailable
from controlplane.provisioning import requests
from controlplane.provisioning.step import Target
from controlplane.store import tenants
from controlplane.tenancy.drop import drop
from controlplane_dns.memory import Fault
from tests.engine.faults import Failure
from tests.engine.lab import ACTOR, open_lab
from tests.engine.world import assert_world, fingerprint

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


async def test_a_foreign_record_stops_the_provisioning_and_stays(lab):
    lab.dns.place_foreign("acme", "198.51.100.9")

    ended = await lab.settle(await lab.create("acme"))

    assert ended.state == "failed"
    assert ended.error == {**(ended.error or {}), "code": "dns_conflict", "step": "dns"}
    assert lab.dns.foreign == {"acme": "198.51.100.9"}
    await assert_world(lab)


@pytest.mark.parametrize("what", ["schema", "role"])
async def test_a_foreign_schema_or_role_of_the_same_name_stops_the_provisioning_and_stays(
    lab, what
):
    operation = await lab.create("acme")
    name = f"tenant_{operation.tenant_id.hex}"
    with psycopg.connect(lab.database.superuser_url, autocommit=True) as conn:
        make = "CREATE SCHEMA {}" if what == "schema" else "CREATE ROLE {}"
        conn.execute(sql.SQL(make).format(sql.Identifier(name)))
        try:
            ended = await lab.settle(operation)

            assert ended.state == "failed"
            assert ended.error["code"] == "schema_conflict"
            there = (
                "SELECT 1 FROM pg_namespace WHERE nspname = %s"
                if what == "schema"
                else "SELECT 1 FROM pg_roles WHERE rolname = %s"
            )
            assert conn.execute(there, [name]).fetchone() == (1,)
        finally:
            drop = "DROP SCHEMA {}" if what == "schema" else "DROP ROLE {}"
            conn.execute(sql.SQL(drop).format(sql.Identifier(name)))


async def test_two_installations_on_one_cluster_and_in_one_zone_leave_each_other_alone(
    database, other_database, tmp_path
):
    async with (
        open_lab(database, tmp_path, real_files=True) as ours,
        open_lab(other_database, tmp_path, real_files=True) as theirs,
    ):
        acme, globex = await ours.active("acme"), await theirs.active("globex")
        before = await fingerprint(theirs, globex)

        taken = await ours.settle(await ours.create("globex"))
        await ours.settle(await ours.delete(acme))

        assert taken.error is not None
        assert taken.error["code"] == "dns_conflict"
        assert await fingerprint(theirs, globex) == before
        world, other = await assert_world(ours), await assert_world(theirs)
        assert world.schemas == world.roles == {f"tenant_{acme.hex}"}
        assert other.schemas == other.roles == {f"tenant_{globex.hex}"}
        assert (set(world.records), set(other.records)) == (set(), {"globex"})


async def test_what_carries_another_installations_mark_is_not_dropped(lab, other_database):
    acme = await lab.active("acme")
    name = f"tenant_{acme.hex}"
    theirs = str(Mark(other_database.installation, acme, acme))
    with psycopg.connect(lab.database.superuser_url, autocommit=True) as conn:
        row = conn.execute(
            "SELECT obj_description(%s::regnamespace, 'pg_namespace')", [name]
        ).fetchone()
        target = await _target(lab, acme)
        mark_as(conn, name, theirs)

        async with lab.parts.owner.begin() as tx:
            assert not await lab.steps["schema"].observe(tx, target)
            await lab.steps["schema"].absent(tx, target)
            await tx.rollback()
        async with lab.parts.owner.begin() as tx:
            await drop(tx, tenant_id=acme, mark=Mark(lab.parts.installation, acme, acme))

        found = "SELECT 1 FROM pg_namespace n JOIN pg_roles r ON rolname = nspname AND nspname = %s"
        assert conn.execute(found, [name]).fetchone() == (1,)
        assert row is not None
        mark_as(conn, name, row[0])


def mark_as(conn, name, mark):
    for kind in ("SCHEMA", "ROLE"):
        comment = sql.SQL("COMMENT ON {} {} IS {}").format(
            sql.SQL(kind), sql.Identifier(name), sql.Literal(mark)
        )
        conn.execute(comment)


async def _target(lab, tenant_id):
    async with lab.parts.owner.connect() as conn:
        tenant = await tenants.get(conn, tenant_id)
    return Target(tenant, Mark(lab.parts.installation, tenant_id, tenant_id), {}, None)


async def test_dns_that_is_down_during_rollback_is_healed_by_the_sweep_without_an_operator(lab):
    lab.steps = Failure("verify", "ensure").wrap(lab.steps)
    away = Fault(method="absent", error=ProviderUnavailable("no answer"), times=8)
    lab.dns.faults.append(away)
    operation = await lab.settle(await lab.create("acme"))
    assert operation.state == "parked"
    assert operation.error["parked"]["code"] == "provider_unavailable"

    assert await worker.open_reaper(lab.parts).sweep() == 1

    ended = await lab.settle(operation)
    assert ended.state == "failed"
    assert ended.error["step"] == "verify"
    assert await worker.open_reaper(lab.parts).sweep() == 0
    await assert_world(lab)


async def test_an_operation_parked_for_good_waits_for_an_operator_who_may_abandon_it(lab):
    lab.steps = Failure("verify", "ensure").wrap(
        Failure("admin", "absent", error=Permanent("stuck")).wrap(lab.steps)
    )
    operation = await lab.settle(await lab.create("acme"))
    assert operation.state == "parked"
    assert await worker.open_reaper(lab.parts).sweep() == 0

    async with lab.parts.control.begin() as conn:
        ended = await requests.abandon(
            conn,
            operation.id,
            reason="unfixable",
            comment="the schema stays for forensics",
            by="ada@ops.test",
            quarantine=timedelta(days=30),
            actor=ACTOR,
        )
    assert ended.state == "abandoned"
    left = await lab.sql(
        "SELECT kind FROM public.tenant_resources WHERE tenant_id = :id", id=operation.tenant_id
    )
    assert [row.kind for row in left] == ["schema"], "what is left stays on record"
    await _tidy(lab, operation)


async def _tidy(lab, operation):
    """By hand, as an operator would, so that the world is whole again."""
    with psycopg.connect(lab.database.superuser_url) as conn:
        name = sql.Identifier(f"tenant_{operation.tenant_id.hex}")
        conn.execute(sql.SQL("DROP SCHEMA {0} CASCADE; DROP ROLE {0}").format(name))
    await lab.sql(
        "DELETE FROM public.tenant_resources WHERE tenant_id = :id", id=operation.tenant_id
    )
    await lab.sql(
        "UPDATE public.tenants SET revision = NULL WHERE id = :id", id=operation.tenant_id
    )
