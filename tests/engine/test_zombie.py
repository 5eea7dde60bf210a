"""A worker process is really frozen (SIGSTOP), another one takes its operation over, and it wakes up
(SIGCONT): whatever it tries then, the journal stays as it is."""

import asyncio

import pytest

from controlplane import worker
from controlplane.provisioning import requests
from tests.engine.lab import ACTOR, environment, open_lab
from tests.engine.world import assert_world, fingerprint

pytestmark = [pytest.mark.anyio]

IN_A_TRANSACTION = {
    "step:schema:after-effect",
    "step:schema:before-commit",
    "step:dns:before-commit",
}
BEFORE_THE_CALL = {"step:dns:before-call", "call:dns"}
PLACES = sorted({*IN_A_TRANSACTION, *BEFORE_THE_CALL, "step:dns:after-call"})

# So long that nothing in the frozen process looks at a clock or a lease before it goes on.
PATIENT = {"lease_s": 600.0, "beat_s": 200.0, "call_s": 100.0}


@pytest.mark.parametrize("cancelled", [False, True], ids=["finished", "cancelled"])
@pytest.mark.parametrize("place", PLACES)
async def test_a_worker_that_was_frozen_and_overtaken_changes_nothing_in_the_journal(
    database, tmp_path, zygote, place, cancelled
):
    async with open_lab(database, tmp_path, real_files=True) as lab:
        bystander = await lab.active("globex")
        before = await fingerprint(lab, bystander)
        operation = await lab.create("acme")
        with frozen(zygote, lab, tmp_path, place, **PATIENT) as zombie:
            ended = await take_over(lab, operation, cancelled=cancelled)
            left = await journal(lab)
            status, told = zombie.thaw()

        assert (status, ended.state) == (0, "cancelled" if cancelled else "succeeded")
        assert {epoch for _, epoch in told["tried"]} == {1}, "it tried nothing"
        ends = "drive_dropped" if place in IN_A_TRANSACTION else "drive_lost"
        assert ends in told["log"]
        assert await journal(lab) == left
        orphaned = cancelled and place in BEFORE_THE_CALL
        assert ("acme" in await records(lab)) == (orphaned or not cancelled)
        if orphaned:
            await swept(lab, "clean")
            assert "acme" not in await records(lab)
        await assert_world(lab)
        assert await fingerprint(lab, bystander) == before


async def test_a_frozen_deletion_that_was_cancelled_takes_the_record_and_the_sweep_puts_it_back(
    database, tmp_path, zygote
):
    async with open_lab(database, tmp_path, real_files=True) as lab:
        tenant_id = await lab.active("acme")
        operation = await lab.delete(tenant_id)
        with frozen(zygote, lab, tmp_path, "call:dns", **PATIENT) as zombie:
            await take_over(lab, operation, cancelled=True)
            left = await journal(lab)
            status, told = zombie.thaw()

        assert status == 0
        assert "drive_lost" in told["log"]
        assert await journal(lab) == left
        assert "acme" not in await records(lab), "it took nothing away: this proves nothing"
        await swept(lab, "repair")
        assert "acme" in await records(lab)
        await assert_world(lab)


@pytest.mark.parametrize("place", PLACES)
async def test_a_heartbeat_that_sees_the_lease_gone_ends_the_drive_first(
    database, tmp_path, zygote, place
):
    async with open_lab(database, tmp_path, real_files=True) as lab:
        operation = await lab.create("acme")
        times = {**PATIENT, "beat_s": 0.1}
        with frozen(zygote, lab, tmp_path, place, waking="idles", **times) as zombie:
            await take_over(lab, operation, cancelled=True)
            left = await journal(lab)
            status, told = zombie.thaw()

        assert status == 0
        assert "lease_lost" in told["log"]
        assert await journal(lab) == left
        assert await records(lab) == set(), "it called after its lease was gone"
        await assert_world(lab)


async def test_a_process_whose_loop_hangs_ends_itself(database, tmp_path, zygote):
    async with open_lab(database, tmp_path, real_files=True) as lab:
        operation = await lab.create("acme")
        times = {**PATIENT, "beat_s": 0.1, "poll_s": 0.1, "stall_s": 4.0}
        place = "step:dns:before-call"
        with frozen(zygote, lab, tmp_path, place, waking="hangs", **times) as zombie:
            await take_over(lab, operation, cancelled=True)
            left = await journal(lab)
            status, _ = zombie.thaw()

        assert status == 70
        assert await journal(lab) == left
        assert await records(lab) == set()
        await assert_world(lab)


async def test_a_session_ended_while_its_worker_was_frozen_is_no_failure_of_the_step(
    database, tmp_path, zygote
):
    async with open_lab(database, tmp_path, real_files=True) as lab:
        operation = await lab.create("acme")
        with frozen(zygote, lab, tmp_path, "step:schema:after-effect", **PATIENT) as frozen_one:
            await no_open_transaction(lab)
            status, told = frozen_one.thaw()

        assert status == 0
        assert "drive_dropped" in told["log"]
        assert "step_failed" not in told["log"]
        ended = await lab.settle(operation)
        assert ended.state == "succeeded"
        await assert_world(lab)


def frozen(zygote, lab, folder, place, **more):
    variables = environment(lab.database, folder)
    return zygote.frozen(variables, place, report=folder / "zombie.json", **more)


async def take_over(lab, operation, *, cancelled):
    """What another worker does once the lease has run out."""
    if cancelled:
        async with lab.parts.control.begin() as conn:
            await requests.cancel(conn, operation.id, actor=ACTOR)
    await no_open_transaction(lab)
    return await lab.settle(operation)


async def no_open_transaction(lab):
    """PostgreSQL has ended the session of whoever was frozen in a transaction."""
    query = (
        "SELECT FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'"
    )
    async with asyncio.timeout(60):
        while await lab.sql(query):  # noqa: ASYNC110  PostgreSQL tells nobody
            await asyncio.sleep(0.05)


async def journal(lab):
    """Every row that a worker writes."""
    rows = {}
    for table in (
        "operations",
        "operation_steps",
        "operation_events",
        "tenants",
        "tenant_resources",
    ):
        found = await lab.sql(f"SELECT t::text FROM public.{table} t ORDER BY 1")  # noqa: S608  ours
        rows[table] = [row[0] for row in found]
    return rows


async def records(lab):
    owned = [owned async for owned in lab.dns.owned(lab.parts.installation)]
    return {o.record.name for o in owned} - {"globex"}


async def swept(lab, kind):
    """Two sweeps see it, the second one has it set right."""
    reaper = worker.open_reaper(lab.parts)
    assert [await reaper.sweep(), await reaper.sweep()] == [0, 1]
    (row,) = await lab.sql("SELECT id, kind FROM public.operations WHERE finished_at IS NULL")
    assert row.kind == kind
    assert (await lab.settle(await lab.view(row.id))).state == "succeeded"
