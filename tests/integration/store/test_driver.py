"""What goes past SQLAlchemy ends as if it had not."""

import asyncio

import psycopg
import pytest
from psycopg.errors import UndefinedColumn
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, InvalidRequestError, OperationalError, ProgrammingError
from sqlalchemy.ext.asyncio import create_async_engine

from controlplane.store import driver
from controlplane.store.urls import sqlalchemy_url

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


@pytest.fixture
async def engine(database):
    made = create_async_engine(sqlalchemy_url(database.owner_url), pool_size=1, max_overflow=0)
    yield made
    await made.dispose()


async def test_it_is_part_of_the_transaction_that_the_connection_has_begun(engine):
    async with engine.connect() as conn:
        async with conn.begin() as transaction:
            row = await driver.first(
                conn, "UPDATE public.installation SET id = %(id)s RETURNING id::text", {"id": ID}
            )
            assert row == (ID,)
            await transaction.rollback()
        assert (await conn.execute(text("SELECT id::text FROM public.installation"))).one() != (ID,)


async def test_without_a_transaction_nothing_is_sent(engine):
    async with engine.connect() as conn:
        with pytest.raises(InvalidRequestError, match="needs a transaction"):
            await driver.first(conn, "SELECT 1", {})


async def test_no_row_is_none(engine):
    async with engine.begin() as conn:
        assert await driver.first(conn, "SELECT 1 WHERE %(no)s", {"no": False}) is None


async def test_a_listener_to_what_is_sent_hears_of_it(engine):
    heard: list[str] = []

    def hear(_conn, _cursor, statement, *_more):
        heard.append(statement)

    event.listen(engine.sync_engine, "before_cursor_execute", hear)
    async with engine.begin() as conn:
        await driver.first(conn, "SELECT 1", {})
    assert heard == ["SELECT 1"]


async def test_an_error_is_the_one_that_the_connection_would_raise_and_leaves_it_usable(engine):
    async with engine.connect() as conn:
        with pytest.raises(ProgrammingError) as raised:
            async with conn.begin():
                await driver.first(conn, "SELECT nothing_such", {})
        assert isinstance(raised.value.orig, UndefinedColumn)
        assert not raised.value.connection_invalidated
        assert not conn.invalidated
        async with conn.begin():
            assert await driver.first(conn, "SELECT 1", {}) == (1,)


async def test_a_session_that_was_ended_is_given_up_and_the_next_transaction_has_another(engine):
    async with engine.connect() as conn:
        async with conn.begin():
            (pid,) = await driver.first(conn, "SELECT pg_backend_pid()", {})
        with pytest.raises(OperationalError) as raised:
            async with conn.begin():
                await driver.first(conn, "SELECT pg_terminate_backend(%(pid)s)", {"pid": pid})
        assert raised.value.connection_invalidated
        async with conn.begin():
            assert await driver.first(conn, "SELECT pg_backend_pid()", {}) != (pid,)


def _end_all_sessions(database):
    """As a restart of the server does."""
    with psycopg.connect(database.superuser_url, autocommit=True) as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


async def _by_sqlalchemy(engine):
    async with engine.begin() as conn:
        await conn.execute(text("SELECT 1"))


async def _past_it(engine):
    async with engine.begin() as conn:
        await driver.first(conn, "SELECT 1", {})


@pytest.mark.parametrize("ask", [_by_sqlalchemy, _past_it])
async def test_the_other_sessions_of_a_server_that_was_restarted_are_not_lent_again(database, ask):
    engine = create_async_engine(sqlalchemy_url(database.owner_url), pool_size=2)
    async with engine.connect() as first, engine.connect() as second:
        for conn in (first, second):
            await conn.execute(text("SELECT 1"))
    _end_all_sessions(database)
    with pytest.raises(OperationalError):
        await ask(engine)
    await asyncio.gather(*(ask(engine) for _ in range(2)))
    await engine.dispose()


async def test_values_are_not_told_in_an_error(engine):
    with pytest.raises(DBAPIError) as raised:
        async with engine.begin() as conn:
            await driver.first(conn, "SELECT %(secret)s::uuid", {"secret": "hunter2"})
    assert "hunter2" not in str(raised.value).replace(str(raised.value.orig), "")


ID = "11111111-2222-4333-8444-555555555555"


async def test_a_message_of_several_statements_is_answered_statement_by_statement(engine):
    async with engine.begin() as conn:
        for _ in range(8):  # however often: what is prepared could hold one statement only
            answers = await driver.rows_of_each(
                conn, "SELECT 1; SET LOCAL lock_timeout = 7; SELECT 2, '%s' WHERE true; SELECT 3"
            )
            assert answers == [[(1,)], [(2, "%s")], [(3,)]]


async def test_a_message_ends_at_its_first_failure_and_can_go_back_to_a_savepoint(engine):
    async with engine.begin() as conn:
        with pytest.raises(ProgrammingError):
            await driver.rows_of_each(conn, "SAVEPOINT here; SELECT nothing; SELECT 1/0")
        await driver.rows_of_each(conn, "ROLLBACK TO SAVEPOINT here")
        assert await driver.rows_of_each(conn, "SELECT 1") == [[(1,)]]
