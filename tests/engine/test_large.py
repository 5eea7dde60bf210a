"""The drop of a large tenant: several transactions of the engine, each of which keeps to a budget of
locks, and between any two of which a worker may die."""

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from controlplane.provisioning.course import WAITS
from controlplane.tenancy.scope import enter
from controlplane.tenancy.slots import AT_MOST
from tests.engine.faults import Failure
from tests.engine.lab import environment, open_lab
from tests.engine.plans_under_test import SCENARIOS
from tests.engine.test_happy_path import events
from tests.engine.test_harness import resume
from tests.engine.world import assert_journal, assert_world, fingerprint

pytestmark = [pytest.mark.anyio]

PURGE = next(scenario for scenario in SCENARIOS if str(scenario) == "purge")
# What the journal, the fence and the registry lock beside what is dropped.
BESIDES = 120
GROW = """
DO $$ BEGIN
  FOR n IN 1..90 LOOP
    EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, user_id uuid NOT NULL REFERENCES users,'
      ' body text DEFAULT ''x'', n int NOT NULL CHECK (n > 0))', n);
  END LOOP;
END $$
"""


def grow(database, tenant_id):
    """Ninety tables more, of twenty locks each."""
    with psycopg.connect(database.owner_url) as conn:
        conn.execute(enter(tenant_id))
        conn.execute(GROW)


async def purging(lab):
    tenant_id = await PURGE.prepare(lab)
    grow(lab.database, tenant_id)
    return await PURGE.ask(lab, tenant_id)


async def tables_of(lab, operation):
    (row,) = await lab.sql(
        "SELECT count(*) AS n FROM pg_tables WHERE schemaname = :name",
        name=f"tenant_{operation.tenant_id.hex}",
    )
    return row.n


@pytest.mark.database_near
async def test_a_large_tenant_is_purged_in_transactions_that_keep_to_the_budget_of_locks(lab):
    operation, held = await purging(lab), []

    async def count(place):
        if place.startswith("step:schema:before-"):
            with psycopg.connect(lab.database.superuser_url) as conn:
                found = conn.execute(
                    "SELECT count(*) FROM pg_locks WHERE pid IN (SELECT pid FROM pg_stat_activity"
                    " WHERE datname = current_database() AND state = 'idle in transaction')"
                ).fetchone()
                assert found is not None
                held.append(found[0])

    lab.failpoint = count
    ended = await lab.settle(operation)

    assert ended.state == "succeeded"
    assert len(held) > 3
    assert AT_MOST / 2 < max(held) <= AT_MOST + BESIDES
    told = await events(lab, operation)
    assert told.count("schema step_waiting") > 1
    assert told.count("schema step_done") == 1
    await assert_world(lab)


@pytest.mark.parametrize("place", WAITS)
async def test_a_worker_killed_between_two_batches_of_a_purge_leaves_it_to_the_next(
    database, tmp_path, zygote, place
):
    async with open_lab(database, tmp_path, real_files=True) as lab:
        bystander = await lab.active("globex")
        before = await fingerprint(lab, bystander)
        operation = await purging(lab)
        whole = await tables_of(lab, operation)

        zygote.run_until_killed(environment(database, tmp_path), f"step:schema:{place}")
        left = await tables_of(lab, operation)
        states = {step.name: step.state for step in (await lab.view(operation.id)).steps}
        if place == "before-wait-commit":
            assert (left, states["schema"]) == (whole, "pending")
        await assert_journal(lab)

        assert (await lab.settle(operation)).state == "succeeded"
        world = await assert_world(lab)
        assert world.tenants[operation.tenant_id].state == "purged"
        assert await fingerprint(lab, bystander) == before


async def test_a_large_tenant_is_rolled_back_in_batches_and_its_condition_goes_with_the_first(lab):
    operation = await lab.create("acme")

    async def enlarge(place):
        if place == "step:admin:before-begin":
            grow(lab.database, operation.tenant_id)
        if place == "undo:schema:after-wait-commit":
            (tenant,) = await lab.sql(
                "SELECT state, revision, conditions->'SchemaReady'->'holds' AS ready"
                " FROM public.tenants WHERE id = :id",
                id=operation.tenant_id,
            )
            assert tuple(tenant) == ("provisioning", None, False)
            await assert_journal(lab)
            seen.append(place)

    seen: list[str] = []
    lab.failpoint = enlarge
    lab.steps = Failure("admin", "ensure").wrap(lab.steps)
    ended = await lab.settle(operation)

    assert ended.state == "failed"
    assert ended.error["step"] == "admin"
    assert len(seen) > 1
    assert {step.undo_attempt for step in ended.steps if step.name == "schema"} == {1}
    await assert_world(lab)


async def test_others_have_their_turn_between_two_batches(lab):
    operation = await purging(lab)
    while "schema step_waiting" not in await events(lab, operation):
        await lab.drive_once()
    # However slow the machine is, its pause is not over.
    await lab.sql(
        "UPDATE public.operations SET run_at = clock_timestamp() + interval '1 h' WHERE id = :id AND"
        " run_at > (SELECT max(at) FROM public.operation_events WHERE operation_id = :id)",
        id=operation.id,
    )
    other = await lab.create("initech")

    assert await lab.drive_once()

    assert (await lab.view(other.id)).state == "succeeded"
    assert (await lab.settle(operation)).state == "succeeded"


async def test_what_others_built_upon_a_large_tenant_parks_its_purge_before_anything_is_gone(lab):
    operation = await purging(lab)
    whole = await tables_of(lab, operation)
    schema = Identifier(f"tenant_{operation.tenant_id.hex}")
    with psycopg.connect(lab.database.superuser_url, autocommit=True) as conn:
        conn.execute(SQL("CREATE VIEW public.theirs AS SELECT body FROM {}.t7").format(schema))
        parked = await lab.settle(operation)
        assert parked.state == "parked"
        assert parked.error["parked"]["code"] == "schema_conflict"
        assert await tables_of(lab, operation) == whole
        conn.execute("DROP VIEW public.theirs")
    await resume(lab, operation)
    assert (await lab.settle(operation)).state == "succeeded"
    await assert_world(lab)


async def test_a_lock_that_is_not_had_in_the_midst_of_a_purge_is_waited_for(lab):
    operation = await purging(lab)
    schema = Identifier(f"tenant_{operation.tenant_id.hex}")
    with psycopg.connect(lab.database.superuser_url) as reader:
        # Made first, so it goes last.
        reader.execute(SQL("LOCK TABLE {}.t1 IN ACCESS SHARE MODE").format(schema))
        while "schema step_failed" not in await events(lab, operation):
            await lab.expire()
            await lab.drive_once()
    (step,) = [s for s in (await lab.view(operation.id)).steps if s.name == "schema"]
    assert step.last_error["retriable"]

    assert (await lab.settle(operation)).state == "succeeded"
    assert "schema step_waiting" in await events(lab, operation)
