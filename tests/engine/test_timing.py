"""What happens to time: back-off is in the row, waits keep the deadline, a lost lease stops a drive,
and an error of the database is a failure only where it surely undid what was done."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from time import monotonic

import psycopg
import pytest
from psycopg.errors import LockNotAvailable
from sqlalchemy.exc import OperationalError

from controlplane.domain.dns import record_for
from controlplane.domain.naming import Mark, Subdomain
from controlplane.errors import LeaseLost, Transient
from controlplane.provisioning import journal, requests
from controlplane.provisioning.crew import nowhere
from controlplane.provisioning.leases import Heartbeat, Timing
from tests.engine.faults import Failure
from tests.engine.lab import ACTOR
from tests.engine.looking import operation_row
from tests.engine.test_harness import resume
from tests.engine.test_lease import QUICK, claim, until
from tests.engine.world import assert_world

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


def patient(lab):
    """A worker that waits as long as it would in earnest."""
    engine = lab.engine()
    engine.crew = replace(engine.crew, timing=Timing())
    return engine


async def test_a_claim_pays_its_back_off_in_advance(lab):
    operation = await lab.create("acme")
    due = []
    for _ in range(12):
        await lab.expire()
        await claim(lab)
        row = await operation_row(lab, operation)
        due.append(row.due_in)

    assert row.attempt == 12
    assert 5 < max(due) <= 600, "at random, up to 2, 4, 8 … 600 seconds"
    await lab.sql("UPDATE public.operations SET attempt = 0 WHERE id = :id", id=operation.id)
    await lab.settle(operation)


async def test_a_transient_failure_moves_the_operation_on_in_time_and_gives_the_lease_back(lab):
    lab.steps = Failure("dns", "ensure", error=Transient("busy", retry_after=40), times=1).wrap(
        lab.steps
    )
    operation = await lab.create("acme")

    await lab.drive_once(engine=patient(lab))
    row = await operation_row(lab, operation)

    assert 35 < row.due_in < 51
    assert (row.lease_owner, row.lease_expires_at, row.attempt) == (None, None, 0)
    assert not await lab.drive_once()


@pytest.mark.parametrize("sooner", ["the step's", "the operation's"])
async def test_a_wait_outlasts_neither_the_deadline_of_its_step_nor_of_its_operation(lab, sooner):
    lab.steps = Failure("dns", "ensure", error=Transient("busy", retry_after=9000), times=1).wrap(
        lab.steps
    )
    operation = await lab.create("acme")

    async def shorten(place):
        if place == "step:dns:before-call" and sooner == "the operation's":
            await lab.sql(
                "UPDATE public.operations SET deadline_at = clock_timestamp() + interval '90 s'"
                " WHERE finished_at IS NULL"
            )

    lab.failpoint = shorten
    await lab.drive_once(engine=patient(lab))
    row = await operation_row(lab, operation)

    (step,) = await lab.sql(
        "SELECT started_at + interval '180 s' AS ends"
        " FROM public.operation_steps WHERE operation_id = :id AND name = 'dns'",
        id=operation.id,
    )
    ends = row.deadline_at if sooner == "the operation's" else step.ends
    assert abs(row.run_at - ends) < timedelta(seconds=1)
    assert row.left < 301
    await lab.settle(operation)


async def test_waiting_for_dns_does_not_lengthen_the_back_off_of_a_later_failure(lab):
    lab.dns.pending = 6
    operation = await lab.create("acme")
    for _ in range(5):
        await lab.drive_once()
        await lab.expire()
    lab.steps = Failure("dns", "ensure", error=Transient("busy"), times=1).wrap(lab.steps)

    await lab.drive_once(engine=patient(lab))

    assert (await operation_row(lab, operation)).due_in < 2
    await lab.settle(operation)


async def test_a_change_that_the_provider_lost_is_made_again(lab):
    lab.dns.pending = 1
    operation = await lab.create("acme")
    await lab.drive_once()
    lab.dns._still_pending.clear()  # noqa: SLF001  the provider forgets the change
    lab.dns.records.clear()

    ended = await lab.settle(operation)

    assert ended.state == "succeeded"
    assert lab.dns.calls.count(("ensure", "acme")) == 2
    await _restore_globex(lab)


async def _restore_globex(lab):
    """The bystander's record went with the provider's memory; put it back as it was."""
    (row,) = await lab.sql(
        "SELECT t.id, o.id AS operation FROM public.tenants t JOIN public.operations o"
        " ON o.tenant_id = t.id WHERE subdomain = 'globex'"
    )
    mark = Mark(lab.parts.installation, row.id, row.operation)
    await lab.dns.ensure(record_for(Subdomain("globex"), "192.0.2.7"), mark)


async def test_the_deadline_runs_from_the_first_claim_and_not_from_the_queue(lab):
    operation = await lab.create("acme")
    await lab.sql(
        "UPDATE public.operations SET created_at = created_at - interval '1 hour',"
        " deadline_at = deadline_at - interval '1 hour' WHERE id = :id",
        id=operation.id,
    )

    ended = await lab.settle(operation)

    assert ended.state == "succeeded"
    assert 0 < (await operation_row(lab, operation)).left < 301


@pytest.mark.parametrize("place", ["after-fence", "after-effect", "before-commit"])
@pytest.mark.parametrize("step", ["schema", "admin", "activate"])
async def test_a_session_that_is_terminated_concludes_nothing_about_its_step(lab, step, place):
    operation = await lab.create("acme")
    struck: list[str] = []

    async def terminate(here):
        if here == f"step:{step}:{place}" and not struck:
            struck.append(here)
            with psycopg.connect(lab.database.superuser_url, autocommit=True) as conn:
                conn.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND usename = 'cp_owner'"
                )

    lab.failpoint = terminate
    await lab.drive_once()

    assert struck
    found = await lab.view(operation.id)
    assert (found.state, found.error) == ("running", None)
    assert {s.name: s.attempt for s in found.steps}[step] == 0
    assert (await operation_row(lab, operation)).lease_owner is None, "it was not let go"
    assert (await lab.settle(operation)).state == "succeeded"
    await assert_world(lab)


async def test_a_lock_that_is_not_had_is_a_passing_failure_on_record(lab):
    operation = await lab.create("acme")
    times_out = _impatient("step:admin:after-fence")
    lab.failpoint = times_out
    await lab.drive_once()
    lab.failpoint = nowhere
    (row,) = await lab.sql(
        "SELECT data->'error'->>'code' AS code FROM public.operation_events"
        " WHERE operation_id = :id AND type = 'step_failed'",
        id=operation.id,
    )

    assert row.code == "step_failed"
    assert (await lab.settle(operation)).state == "succeeded"


def _impatient(place):
    """At the place, the step meets a lock time-out, as from another session's lock."""

    async def fail(here):
        if here == place:
            raise OperationalError("", {}, LockNotAvailable("canceling statement"))

    return fail


async def test_an_undo_that_never_gets_its_lock_parks_in_sight(lab):
    blocked = OperationalError("", {}, LockNotAvailable("canceling statement"))
    lab.steps = Failure("schema", "absent", error=blocked).wrap(
        Failure("admin", "ensure").wrap(lab.steps)
    )
    operation = await lab.settle(await lab.create("acme"))

    assert operation.state == "parked"
    assert operation.error is not None
    assert operation.error["parked"]["retriable"]
    lab.steps["schema"] = lab.steps["schema"].step
    await resume(lab, operation)
    assert (await lab.settle(operation)).state == "failed"


async def test_a_drive_whose_lease_is_lost_stops_and_writes_nothing_more(lab):
    operation = await lab.create("acme")
    engine, stuck = lab.engine(), asyncio.Event()
    engine.heartbeat = Heartbeat(lab.database.owner_url, QUICK)

    async def overtaken(place):
        if place == "step:dns:before-call":
            stuck.set()
            await asyncio.Event().wait()

    lab.failpoint = overtaken
    (claimed,) = await engine.claim()
    drive = asyncio.create_task(engine.drive(claimed))
    await stuck.wait()
    await lab.expire()
    (thief,) = await claim(lab, owner="thief")
    # Not earlier: it would renew what is to be stolen.
    engine.heartbeat.start()
    try:
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(drive, 60)
    finally:
        await asyncio.to_thread(engine.heartbeat.stop)

    row = await operation_row(lab, operation)
    assert (row.lease_owner, row.epoch) == ("thief", thief.epoch)

    lab.failpoint = nowhere
    assert (await lab.settle(operation)).state == "succeeded"


async def test_a_call_gets_what_is_left_of_the_lease_and_no_more(lab):
    await lab.create("acme")
    (held,) = await claim(lab)
    timing = Timing(lease_s=30, call_s=8, margin_s=2)
    heartbeat = Heartbeat(lab.database.owner_url, timing)
    fresh = heartbeat.add(held, lambda: None, claimed=monotonic())
    old = heartbeat.add(held, lambda: None, claimed=monotonic() - 25)
    gone = heartbeat.add(held, lambda: None, claimed=monotonic() - 28)

    assert fresh.budget_s(timing) == 8
    assert 2.5 < old.budget_s(timing) <= 3
    with pytest.raises(LeaseLost):
        gone.budget_s(timing)
    await lab.expire()
    await lab.drive_once()


async def test_the_heartbeat_leaves_alone_what_was_released_or_has_ended(lab):
    released, ended, held = [await lab.create(f"acme{n}") for n in range(3)]
    operations = await claim(lab, limit=3)
    heartbeat = Heartbeat(lab.database.owner_url, QUICK)
    for operation in operations:
        heartbeat.add(operation, lambda: None, claimed=monotonic() + 1000)
    by_id = {operation.id: operation for operation in operations}
    async with lab.parts.owner.begin() as conn:
        await journal.release(conn, by_id[released.id], after_s=0)
    await lab.sql("UPDATE public.operations SET state = 'parked' WHERE id = :id", id=ended.id)
    async with lab.parts.control.begin() as conn:
        await requests.abandon(
            conn,
            ended.id,
            reason="x",
            comment="x",
            by="x",
            quarantine=timedelta(days=1),
            actor=ACTOR,
        )
    await lab.sql(
        "UPDATE public.operations SET lease_expires_at = clock_timestamp() WHERE id = :id",
        id=held.id,
    )
    heartbeat.start()
    try:
        await until(lab, "lease_expires_at > clock_timestamp()", held.id)
    finally:
        await asyncio.to_thread(heartbeat.stop)

    assert (await operation_row(lab, released)).lease_expires_at is None
    for operation in (released, held):
        await lab.settle(operation)
