"""What is particular to the pipelined form: when things travel, and where errors come up."""

import asyncio
import re

import psycopg
import pytest
from psycopg import sql
from psycopg_pool import AsyncConnectionPool

from controlplane.errors import TenantSchemaMissing
from controlplane.routing import Tenancy
from controlplane.routing.statements import prelude
from tests.integration.routing.seen import SEEN_AS

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.database_near,
    pytest.mark.usefixtures("clean"),
]


async def _traced(pool, file, work):
    """The messages of `work` as a list of 'F' and 'B' (to and from the server), a run at a time."""
    with file.open("w+b") as trace:
        async with pool.connection() as conn:
            conn.pgconn.trace(trace.fileno())
        await work()
        async with pool.connection() as conn:
            conn.pgconn.untrace()
        trace.seek(0)
        lines = [line.decode().split("\t") for line in trace]
    turns = re.sub(r"(.)\1*", r"\1", "".join(line[1] for line in lines))
    return turns.count("FB"), lines


async def test_an_ordinary_block_takes_two_round_trips(pool, world, tmp_path):
    async def work():
        async with Tenancy(pool).transaction(world.acme) as conn:
            cursor = await conn.execute("SELECT body FROM notes WHERE id = %s", [1])
            ((body,),) = await cursor.fetchall()
            await conn.execute("INSERT INTO notes VALUES (%s, %s)", [2, f"after {body}"])

    trips, lines = await _traced(pool, tmp_path / "trace", work)
    assert trips == 2
    assert [line[3].split()[0] for line in lines].count("Sync") == 1
    assert world.notes(world.acme) == ["acme", "after acme"]


async def test_a_batch_takes_one_round_trip(pool, world, tmp_path):
    answers = []

    async def work():
        answers.extend(
            await Tenancy(pool).run(
                [
                    ("SELECT id, body FROM notes", None),
                    ("INSERT INTO notes VALUES (%s, %s)", [2, "two"]),
                    ("UPDATE notes SET body = body || '!' RETURNING id", None),
                    ("DELETE FROM notes WHERE id > %s", [9]),
                ],
                tenant=world.acme,
            )
        )

    trips, _ = await _traced(pool, tmp_path / "trace", work)
    assert trips == 1
    assert [(sorted(answer.rows), answer.count) for answer in answers] == [
        ([(1, "acme")], 1),
        ([], 1),
        ([(1,), (2,)], 2),
        ([], 0),
    ]
    assert world.notes(world.globex) == ["globex"]


async def test_a_batch_is_done_whole_or_not_at_all(pool, world):
    statements = [("INSERT INTO notes VALUES (2, 'lost')", None), ("SELECT 1 / 0", None)]
    with pytest.raises(psycopg.errors.DivisionByZero):
        await Tenancy(pool).run(statements, tenant=world.acme)
    assert world.notes(world.acme) == ["acme"]


@pytest.mark.parametrize("gone", ["schema", "role"])
async def test_without_a_schema_the_first_query_is_not_run_at_all(pool, world, gone):
    """A statement that works in any schema shows that it was never run."""
    world.do("CREATE SEQUENCE public.witness; GRANT USAGE ON SCHEMA public TO PUBLIC")
    world.do("GRANT ALL ON SEQUENCE public.witness TO PUBLIC")
    world.do(
        {"schema": "DROP SCHEMA {tenant} CASCADE", "role": "REVOKE {tenant} FROM {login}"}[gone],
        tenant=world.acme.schema,
        login=world.login,
    )

    async def touch():
        async with Tenancy(pool).transaction(world.acme) as conn:
            await conn.execute("SELECT nextval('public.witness')")

    with pytest.raises(TenantSchemaMissing, match=world.acme.schema):
        await touch()
    assert world.do("SELECT is_called FROM public.witness") == [(False,)]


@pytest.mark.parametrize("path", ["''", "pg_temp", "public", "nowhere"])
async def test_the_proof_fails_on_every_other_path(world, path):
    proof = prelude(world.acme.id).statements[-1]
    with psycopg.connect(world.admin) as conn:
        conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(world.acme.schema)))
        conn.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(world.acme.schema)))
        conn.execute(proof)
        conn.execute(f"SET search_path TO {path}")
        with pytest.raises(psycopg.errors.DivisionByZero):
            conn.execute(proof)


async def test_a_missing_schema_that_is_swallowed_opens_nothing(pool, world):
    world.do("DROP SCHEMA {tenant} CASCADE", tenant=world.acme.schema)
    refused: list[object] = []

    async def stubborn():
        async with Tenancy(pool).transaction(world.acme) as conn:
            for _ in range(3):
                try:
                    refused.append(await (await conn.execute("SELECT 1")).fetchall())
                except (TenantSchemaMissing, psycopg.Error) as error:
                    refused.append(type(error))
            with pytest.raises(psycopg.Error):
                async with conn.transaction():
                    pytest.fail("entered")

    with pytest.raises(psycopg.ProgrammingError, match="cannot be committed"):
        await stubborn()
    assert refused[0] is TenantSchemaMissing
    assert all(isinstance(one, type) and issubclass(one, psycopg.Error) for one in refused[1:])


async def test_an_error_is_raised_where_an_answer_is_asked_for(pool, world):
    async with Tenancy(pool).transaction(world.globex) as conn:
        await conn.execute("SELECT 1")

    async def at_the_end():
        async with Tenancy(pool).transaction(world.acme) as conn:
            await conn.execute("INSERT INTO notes VALUES (1, 'taken')")
            reached.append("the end")

    async def at_the_next_fetch():
        async with Tenancy(pool).transaction(world.acme) as conn:
            await conn.execute("INSERT INTO notes VALUES (1, 'taken')")
            cursor = await conn.execute("SELECT body FROM notes")
            reached.append("the fetch")
            await cursor.fetchall()
            pytest.fail("fetched")

    reached: list[str] = []
    for work in (at_the_end, at_the_next_fetch):
        with pytest.raises(psycopg.errors.UniqueViolation):
            await work()
    assert reached == ["the end", "the fetch"]
    assert world.notes(world.acme) == ["acme"]


async def test_a_savepoint_keeps_an_error_that_nobody_waited_for(pool, world):
    async with Tenancy(pool).transaction(world.acme) as conn:
        with pytest.raises(psycopg.errors.UniqueViolation):
            async with conn.transaction():
                await conn.execute("INSERT INTO notes VALUES (1, 'taken')")
        assert await (await conn.execute(SEEN_AS)).fetchone() == (
            f"{world.acme.schema}, pg_temp",
            world.acme.schema,
            str(world.acme.id),
        )
        async with conn.transaction(), conn.transaction(force_rollback=True):
            await conn.execute("DELETE FROM notes")
        await conn.execute("INSERT INTO notes VALUES (2, 'kept')")
    assert world.notes(world.acme) == ["acme", "kept"]


@pytest.mark.parametrize("before", ["nothing", "fetched", "pending"])
async def test_a_savepoint_never_commits_the_transaction_around_it(pool, world, before):
    async def work():
        async with Tenancy(pool).transaction(world.acme) as conn:
            if before != "nothing":
                cursor = await conn.execute("DELETE FROM notes RETURNING id")
            if before == "fetched":
                await cursor.fetchall()
            async with conn.transaction():
                await conn.execute("INSERT INTO notes VALUES (2, 'lost')")
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        await work()
    assert world.notes(world.acme) == ["acme"]


async def _locked(world, task):
    """Until somebody waits for a lock; on this server, other tests' sessions do so too."""
    waiting = (
        "SELECT 1 FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    while not world.do(waiting):
        if task.done():
            pytest.fail(f"ended: {task}")
        await asyncio.sleep(0)


@pytest.mark.parametrize("end", ["cancelled", "timed out"])
async def test_a_wait_in_the_midst_of_a_pipeline_ends_in_a_clean_connection(pool, world, end):
    async def work():
        async with Tenancy(pool).transaction(world.acme) as conn:
            if end == "timed out":
                await conn.execute("SET LOCAL lock_timeout TO '50ms'")
            await conn.execute("INSERT INTO notes VALUES (2, 'lost')")
            await conn.execute("UPDATE notes SET body = 'lost' WHERE id = 1")
            await conn.execute("INSERT INTO notes VALUES (3, 'lost')")

    async with await psycopg.AsyncConnection.connect(world.admin) as blocker:
        await blocker.execute(f"LOCK TABLE {world.acme.schema}.notes IN EXCLUSIVE MODE")
        task = asyncio.create_task(work())
        if end == "cancelled":
            await _locked(world, task)
            task.cancel()
        with pytest.raises((asyncio.CancelledError, psycopg.errors.LockNotAvailable)):
            await task
    assert world.notes(world.acme) == ["acme"]


async def test_statements_that_were_never_waited_for_are_undone_with_the_rest(pool, world):
    async def work():
        async with Tenancy(pool).transaction(world.acme) as conn:
            for number in range(2, 200):
                await conn.execute("INSERT INTO notes VALUES (%s, 'lost')", [number])
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        await work()
    assert world.notes(world.acme) == ["acme"]


async def test_a_first_statement_that_fails_leaves_the_body_its_own_error(pool, world):
    async def work():
        async with Tenancy(pool).transaction(world.acme) as conn:
            await conn.execute("SELECT nonsense")
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        await work()


async def test_the_tables_seen_by_one_connection_are_bounded(world):
    async with AsyncConnectionPool(world.app, min_size=1, max_size=1, open=False) as own:
        tenancy = Tenancy(own, tenants_per_connection=2)
        pids: list[tuple[int]] = []
        for tenant in (world.acme, world.acme, world.globex, world.acme):
            async with tenancy.transaction(tenant) as conn:
                pids += await (await conn.execute("SELECT pg_backend_pid()")).fetchall()
    assert pids[0] == pids[1] == pids[2] != pids[3]
