"""Counters in PostgreSQL: who may count, what is kept and for how long."""

import asyncio

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from sqlalchemy.ext.asyncio import AsyncEngine

from controlplane.store import ratelimit
from tests.contract.ratelimit_peers import wait_for_counts
from tests.database import Database

pytestmark = [pytest.mark.database_near, pytest.mark.anyio]

_HIT = "SELECT admitted FROM public.admit_request(ARRAY[%s], ARRAY[9], ARRAY[60], %s)"
_LONG_AGO_S = 1_700_000_000.0


def _counters(database: Database) -> set[str]:
    with psycopg.connect(database.superuser_url) as conn:
        return {row[0] for row in conn.execute("SELECT counter FROM public.rate_counts")}


@pytest.fixture
def counted(database: Database) -> Database:
    """Counters that are in use, and those that are over."""
    with psycopg.connect(database.control_url) as conn:
        for counter, at_s in (("acme", None), ("globex", None), ("old", _LONG_AGO_S)):
            conn.execute(_HIT, [counter, at_s])
        conn.execute(_HIT, ["older", _LONG_AGO_S - 900])
    return database


async def test_what_counts_no_more_is_forgotten(counted: Database, control: AsyncEngine) -> None:
    async with control.begin() as conn:
        await ratelimit.forget_expired(conn)
    assert _counters(counted) == {"acme", "globex"}


async def test_forgetting_waits_for_nobody_who_counts(
    counted: Database, control: AsyncEngine
) -> None:
    with psycopg.connect(counted.control_url) as counting:
        counting.execute(_HIT, ["old", None])
        async with control.begin() as conn:
            await ratelimit.forget_expired(conn)
    assert _counters(counted) == {"acme", "globex", "old"}


def test_who_counts_while_his_counter_is_forgotten_begins_anew(counted: Database) -> None:
    with psycopg.connect(counted.owner_url, autocommit=True) as conn:
        conn.execute("DELETE FROM public.rate_counts WHERE counter = 'acme'")
        assert conn.execute(_HIT, ["acme", None]).fetchone() == (True,)


async def test_nobody_counts_on_before_the_one_at_it_has_finished(database: Database) -> None:
    """Two requests of one counter, the second one while the first has not been committed."""
    once = "SELECT admitted FROM public.admit_request(ARRAY['acme'], ARRAY[%s], ARRAY[60])"
    wait_for_counts(database)
    with psycopg.connect(database.control_url) as first:
        # So that there is a row to wait for.
        first.execute(once, [0])
        first.commit()
        assert first.execute(once, [1]).fetchone() == (True,)
        async with await psycopg.AsyncConnection.connect(database.control_url) as second:
            asked = asyncio.create_task(second.execute(once, [1]))
            await asyncio.to_thread(_until_it_waits, database, asked)
            first.commit()
            assert await (await asked).fetchone() == (False,)


def _until_it_waits(database: Database, asked: asyncio.Task[object]) -> None:
    query = "SELECT FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
    with psycopg.connect(database.superuser_url, autocommit=True) as conn:
        while not asked.done() and not conn.execute(query, [database.name]).fetchall():
            pass


def test_app_servers_can_neither_count_nor_see_counts(counted: Database) -> None:
    with psycopg.connect(counted.app_url, autocommit=True) as conn:
        for statement in ("SELECT counter FROM public.rate_counts", _HIT):
            values = ["acme", None] if statement == _HIT else []
            with pytest.raises(InsufficientPrivilege):
                conn.execute(statement.encode(), values)


def test_counting_writes_no_log_for_a_crash(counted: Database) -> None:
    with psycopg.connect(counted.superuser_url) as conn:
        row = conn.execute(
            "SELECT relpersistence FROM pg_class WHERE oid = 'public.rate_counts'::regclass"
        ).fetchone()
    assert row == ("u",)
