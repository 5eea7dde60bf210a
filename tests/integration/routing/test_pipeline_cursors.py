"""Which cursors a pipeline has, what they know and when, and what it refuses."""

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from controlplane.routing import Tenancy, settled

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.database_near,
    pytest.mark.usefixtures("clean"),
]


async def test_what_is_not_known_yet_is_not_guessed(pool, world):
    async with Tenancy(pool).transaction(world.acme) as conn:
        cursor = await conn.execute("UPDATE notes SET body = 'x' WHERE id = 99")
        for name in ("rowcount", "description", "statusmessage"):
            with pytest.raises(psycopg.InterfaceError, match="settled"):
                getattr(cursor, name)
        assert (await settled(cursor)).rowcount == 0
        assert (cursor.description, cursor.statusmessage) == (None, "UPDATE 0")
        row = await (await conn.execute("UPDATE notes SET body = 'x' RETURNING id")).fetchone()
        assert row == (1,)


async def test_cursors_of_every_kind_work(pool, world):
    async with Tenancy(pool).transaction(world.acme) as conn:
        cursor = conn.cursor(row_factory=dict_row)
        await cursor.executemany("INSERT INTO notes VALUES (%s, %s)", [(2, "b"), (3, "c")])
        assert (await settled(cursor)).rowcount == 2
        await cursor.executemany(
            "INSERT INTO notes VALUES (%s, %s) RETURNING id", [(4, "d"), (5, "e")], returning=True
        )
        assert [await result.fetchall() async for result in cursor.results()] == [
            [{"id": 4}],
            [{"id": 5}],
        ]
        await cursor.execute("SELECT id FROM notes ORDER BY id")
        assert [row["id"] async for row in cursor] == [1, 2, 3, 4, 5]
        single = await conn.execute("SELECT 1")
        assert [await result.fetchone() async for result in single.results()] == [(1,)]


async def test_more_answers_than_fit_into_the_sockets_are_all_there(pool, world):
    async with Tenancy(pool).transaction(world.acme) as conn:
        cursors = [
            await conn.execute("SELECT repeat('x', %s), %s::text", [100_000, "y" * 10_000])
            for _ in range(300)
        ]
        lengths = {len(row[0]) for cursor in cursors for row in await cursor.fetchall()}
    assert lengths == {100_000}


async def _copy(conn):
    async with conn.cursor().copy("COPY notes TO STDOUT") as copy:
        return [row async for row in copy.rows()]


async def _server_side(conn):
    async with conn.cursor("named") as cursor:
        await cursor.execute("SELECT body FROM notes")
        return await cursor.fetchall()


async def _stream(conn):
    return [row async for row in conn.cursor().stream("SELECT body FROM notes")]


async def _several(conn):
    cursor = await conn.execute("SELECT 1; SELECT 2")
    return await cursor.fetchall()


@pytest.mark.parametrize("work", [_copy, _server_side, _stream, _several])
async def test_what_no_pipeline_can_do_is_refused_there_and_works_without(pool, world, work):
    async def refused():
        async with Tenancy(pool).transaction(world.acme) as conn:
            await conn.execute("DELETE FROM notes")
            await work(conn)

    with pytest.raises((psycopg.NotSupportedError, psycopg.ProgrammingError)):
        await refused()
    assert world.notes(world.acme) == ["acme"]
    async with Tenancy(pool).transaction(world.acme, pipelined=False) as conn:
        assert len(await work(conn)) == 1


async def test_a_copy_by_execute_costs_the_connection_at_most(pool, world):
    async def work():
        async with Tenancy(pool).transaction(world.acme) as conn:
            await conn.execute("DELETE FROM notes")
            await conn.execute("COPY notes FROM STDIN")

    with pytest.raises(psycopg.Error):
        await work()
    assert world.notes(world.acme) == ["acme"]


async def test_a_class_of_cursors_that_the_app_chose_stays_in_use(world):
    options = {"cursor_factory": psycopg.AsyncRawCursor}
    async with AsyncConnectionPool(world.app, kwargs=options, min_size=1, open=False) as own:
        async with Tenancy(own).transaction(world.acme) as conn:
            cursor = await conn.execute("SELECT body FROM notes WHERE id = $1", [1])
            assert await cursor.fetchone() == ("acme",)
        async with own.connection() as conn:
            assert conn.cursor_factory is psycopg.AsyncRawCursor
