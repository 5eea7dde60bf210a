"""PostgreSQL cannot do it now: locks, deadlocks, serialisation, memory, disk, connections.

Every error here is the server's own. What it has surely rolled back is tried again; nothing is
ever half done; whatever stood in the way, the operation ends as it should once it is gone.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Literal

from controlplane.domain.naming import schema_name
from controlplane.provisioning.crew import nowhere
from tests.engine.faults import Failure
from tests.engine.lab import Lab
from tests.engine.strangers import WAYS, failures, in_a_hurry, stand_in_the_way
from tests.engine.world import assert_world

pytestmark = [pytest.mark.anyio]


@pytest.fixture
def lab(lab_apart: Lab) -> Lab:
    """What is done to the database here would stay."""
    return lab_apart


@pytest.fixture
def stranger(lab: Lab) -> Iterator[psycopg.Connection]:
    """A session of somebody else's, in a transaction from its first statement on."""
    with psycopg.connect(lab.database.superuser_url) as conn:
        yield conn
        conn.rollback()


@pytest.fixture
async def hasty(lab: Lab) -> AsyncIterator[Lab]:
    async with in_a_hurry(lab):
        yield lab


LOCKS = {
    "steps": "LOCK TABLE public.operation_steps IN EXCLUSIVE MODE",
    "events": "LOCK TABLE public.operation_events IN ACCESS EXCLUSIVE MODE",
    "tenants": "LOCK TABLE public.tenants IN EXCLUSIVE MODE",
    "operation": "SELECT 1 FROM public.operations WHERE finished_at IS NULL FOR UPDATE",
}


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize(("places", "ends"), WAYS, ids=["on", "back"])
async def test_a_lock_that_a_stranger_holds_for_a_while_changes_nothing(
    hasty, stranger, lock, places, ends
):
    """Those on what all databases of the server share are tried in test_restarts.py."""
    await stand_in_the_way(hasty, stranger, LOCKS[lock], places, ends)


@pytest.mark.database_near
async def test_a_schema_that_is_being_read_is_dropped_when_the_reader_has_gone(hasty, stranger):
    lab = hasty
    lab.steps = Failure("verify", "ensure").wrap(lab.steps)
    operation = await lab.create("acme")
    table = Identifier(schema_name(operation.tenant_id), "users")

    async def read(place):
        if place == "undo:schema:before-begin":
            stranger.execute(SQL("SELECT count(*) FROM {}").format(table))

    lab.failpoint = read
    await lab.drive_once()
    lab.failpoint = nowhere

    assert (await lab.view(operation.id)).state == "unwinding"
    assert [step for step, _ in await failures(lab, operation)] == ["verify", "schema"]
    stranger.rollback()
    assert (await lab.settle(operation)).state == "failed"


async def test_a_schema_that_a_stranger_is_making_is_waited_for_and_made_when_it_is_not(
    hasty, stranger
):
    lab = hasty
    operation = await lab.create("acme")
    stranger.execute(SQL("CREATE SCHEMA {}").format(Identifier(schema_name(operation.tenant_id))))

    await lab.drive_once()

    ((step, error),) = await failures(lab, operation)
    assert (step, error["retriable"]) == ("schema", True)
    stranger.rollback()
    assert (await lab.settle(operation)).state == "succeeded"


@pytest.mark.database_near
@pytest.mark.parametrize("step", ["schema", "admin", "activate"])
async def test_the_victim_of_a_deadlock_tries_again(lab, stranger, step):
    operation = await lab.create("acme")
    stranger.execute("SET deadlock_timeout = '1h'")  # the worker is to be the victim
    stranger.commit()
    crossing: list[asyncio.Task[None]] = []

    async def cross(place):
        if place == f"step:{step}:after-fence" and not crossing:
            stranger.execute("LOCK TABLE public.tenants IN EXCLUSIVE MODE")
            crossing.append(asyncio.create_task(asyncio.to_thread(want_the_operation, stranger)))

    lab.failpoint = cross
    await lab.drive_once()
    await asyncio.gather(*crossing)

    # None where the worker was back before the stranger woke: then the record of its failure was a
    # victim as well, and of that nothing is concluded.
    for failed, error in await failures(lab, operation):
        assert failed == step
        assert error["retriable"]
        assert "DeadlockDetected" in error["detail"]
    assert await come_true(stranger, DEADLOCKS)
    assert (await lab.settle(operation)).state == "succeeded"
    await assert_world(lab)


DEADLOCKS = "SELECT deadlocks > 0 FROM pg_stat_database WHERE datname = current_database()"


async def come_true(stranger: psycopg.Connection, query: str) -> bool:
    """Wait until the query says true: statistics are a moment behind."""
    stranger.rollback()
    async with asyncio.timeout(60):
        while stranger.execute(query).fetchone() != (True,):
            stranger.rollback()
            await asyncio.sleep(0.02)
    return True


def want_the_operation(stranger: psycopg.Connection) -> None:
    """Blocks until the worker has let go of its operation."""
    stranger.execute(LOCKS["operation"])
    stranger.rollback()


@pytest.mark.database_near
@pytest.mark.parametrize("step", ["schema", "admin", "activate"])
async def test_a_transaction_that_cannot_be_serialised_tries_again(lab, stranger, step):
    strict = SQL(
        "ALTER ROLE cp_owner IN DATABASE {} SET default_transaction_isolation = 'repeatable read'"
    )
    stranger.execute(strict.format(Identifier(stranger.info.dbname)))
    stranger.commit()
    await lab.parts.owner.dispose()
    operation = await lab.create("acme")
    struck: list[str] = []

    async def change(place):
        if place == f"step:{step}:after-fence" and not struck:
            struck.append(place)
            stranger.execute("UPDATE public.tenants SET metadata = '{}' WHERE subdomain = 'acme'")
            stranger.commit()

    lab.failpoint = change
    await lab.drive_once()

    ((failed, error),) = await failures(lab, operation)
    assert (failed, error["retriable"]) == (step, True)
    assert "SerializationFailure" in error["detail"]
    assert (await lab.settle(operation)).state == "succeeded"
    await assert_world(lab)


# Raises at the 1st, 2nd, 4th, 8th … time: a sequence is not rolled back.
STRIKES = """
CREATE SEQUENCE public.strikes;
GRANT USAGE, SELECT ON SEQUENCE public.strikes TO PUBLIC;
CREATE FUNCTION public.strike(code text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE n bigint := nextval('public.strikes');
BEGIN
  IF n & (n - 1) = 0 THEN RAISE 'struck on purpose, %', n USING ERRCODE = code; END IF;
END $$;
CREATE FUNCTION public.strike_command() RETURNS event_trigger LANGUAGE plpgsql AS
  $$BEGIN PERFORM public.strike('{code}'); END$$;
CREATE FUNCTION public.strike_row() RETURNS trigger LANGUAGE plpgsql AS
  $$BEGIN PERFORM public.strike('{code}'); RETURN NEW; END$$;
CREATE TRIGGER strike BEFORE UPDATE ON public.operation_steps
  FOR EACH ROW EXECUTE FUNCTION public.strike_row();
CREATE EVENT TRIGGER strike ON ddl_command_end EXECUTE FUNCTION public.strike_command();
"""
CODES = {
    "serialisation": "40001",
    "disk full": "53100",
    "out of memory": "53200",
    "configured limit": "53400",
    "cancelled": "57014",
    "input/output error": "58030",
}


@contextmanager
def striking(lab: Lab, code: str) -> Iterator[None]:
    """Commands and writes to the journal fail with this code, more and more rarely."""
    with psycopg.connect(lab.database.superuser_url, autocommit=True) as conn:
        conn.execute(STRIKES.replace("{code}", code).encode())
        yield
        conn.execute("DROP EVENT TRIGGER strike; DROP TRIGGER strike ON public.operation_steps")


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
async def test_whatever_postgresql_cannot_do_now_is_tried_again_and_never_half_done(lab, code):
    with striking(lab, code):
        made = await lab.settle(await lab.create("acme"))
        healthy = dict(lab.steps)
        lab.steps = Failure("activate", "ensure").wrap(lab.steps)
        undone = await lab.settle(await lab.create("other"))
        lab.steps = healthy

    assert (made.state, undone.state) == ("succeeded", "failed")
    (row,) = await lab.sql("SELECT last_value AS n FROM public.strikes")
    assert row.n > 256, "it struck nine times at least"
    told = [*await failures(lab, made), *await failures(lab, undone)]
    passing = [error for step, error in told if step != "activate" and error]
    assert all(error["retriable"] for error in passing)
    assert passing or code == "58030", "an unknown failure concludes nothing"
    await assert_world(lab)


@pytest.mark.database_near
async def test_a_database_that_takes_no_more_connections_is_waited_for(lab, stranger):
    operation = await lab.create("acme")
    await shut_out(lab, stranger)
    assert not await lab.drive_once(), "the claim has no connection"
    limit_connections(stranger, -1)

    async def full(place):
        if place == "step:dns:after-call":
            await shut_out(lab, stranger)

    lab.failpoint = full
    await lab.drive_once()
    lab.failpoint = nowhere
    limit_connections(stranger, -1)

    found = await lab.view(operation.id)
    assert (found.state, found.error) == ("running", None)
    assert {step.name: step.state for step in found.steps}["dns"] == "started"
    assert (await lab.settle(operation)).state == "succeeded"


async def shut_out(lab: Lab, stranger: psycopg.Connection) -> None:
    """The worker's session ends and its next one is one too many; superusers are let in."""
    limit_connections(stranger, 0)
    stranger.execute(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND usename = 'cp_owner'"
    )
    stranger.commit()
    await lab.parts.owner.dispose()


def limit_connections(stranger: psycopg.Connection, most: int) -> None:
    """-1 is no limit."""
    limit = SQL("ALTER DATABASE {} CONNECTION LIMIT {}")
    stranger.execute(limit.format(Identifier(stranger.info.dbname), Literal(most)))
    stranger.commit()
