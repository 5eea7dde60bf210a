"""What a repair does, also the second time and too late; the command that asks for it."""

import asyncio
import json
from uuid import UUID, uuid4

import pytest

from controlplane import worker
from controlplane.cli.root import run
from controlplane.provisioning import reconcile, requests
from tests.engine.lab import ACTOR, environment, open_lab
from tests.engine.looking import deleted, failed, listed, repaired
from tests.engine.plans_under_test import found, plant
from tests.engine.world import assert_world, fingerprint

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


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
            "remedy": "A repair removes it.",
            "first_seen_at": None,
        }
        assert json.loads(told.out) == {"findings": [finding], "operations": []}
        await worker.open_reaper(lab.parts).sweep()
        (seen,) = await lab.sql("SELECT first_seen_at FROM public.drift_findings")
        _, told = await call("--dry-run", "--output", "json")
        assert json.loads(told.out)["findings"] == [
            {**finding, "first_seen_at": seen.first_seen_at.isoformat()}
        ]
        code, told = await call("--dry-run")
        assert (code, told.out.split()[:5]) == (1, ["KIND", "SUBJECT", "TENANT", "SEEN", "DETAIL"])
        assert told.err == "record_without_tenant: A repair removes it.\n"
        assert await lab.sql("SELECT 1 FROM public.tenants WHERE id = :id", id=stranger) == []

        code, told = await call("--output", "json")
        assert code == 0
        (begun,) = json.loads(told.out)["operations"]
        assert (await lab.settle(await lab.view(UUID(begun)))).state == "succeeded"
        assert (await call("--dry-run"))[0] == 0
        await assert_world(lab)
