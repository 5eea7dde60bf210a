"""The worker's engine asks a connection that has rested whether it is still there, and no other."""

from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from controlplane import connections
from tests.database import Database
from tests.engine.lab import settings

pytestmark = pytest.mark.anyio

PREPARED = "SELECT count(*) FROM pg_prepared_statements"


async def _backend(owner: AsyncEngine) -> int:
    async with owner.begin() as conn:
        return int((await conn.execute(text("SELECT pg_backend_pid()"))).scalar_one())


def _terminate(database: Database, pid: int) -> None:
    """Returns when the session is gone."""
    with psycopg.connect(database.superuser_url) as conn:
        conn.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])


async def test_a_connection_that_died_while_it_rested_is_replaced_unnoticed(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_FRESH_S", 0)
    owner = connections.open_owner(settings(database, tmp_path))
    try:
        first = await _backend(owner)
        assert await _backend(owner) == first
        _terminate(database, first)
        assert await _backend(owner) != first
    finally:
        await owner.dispose()


async def test_one_that_died_at_once_costs_one_error_and_is_replaced(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_FRESH_S", 3600)
    owner = connections.open_owner(settings(database, tmp_path))
    try:
        first = await _backend(owner)
        _terminate(database, first)
        with pytest.raises(OperationalError):
            await _backend(owner)
        assert await _backend(owner) != first
    finally:
        await owner.dispose()


async def test_one_that_has_grown_old_is_replaced(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_AGED_S", 0)
    owner = connections.open_owner(settings(database, tmp_path))
    try:
        assert await _backend(owner) != await _backend(owner)
    finally:
        await owner.dispose()


async def test_no_login_that_may_go_through_a_pooler_prepares_statements(
    database: Database, tmp_path: Path
) -> None:
    wanted = settings(database, tmp_path)
    control = connections.open_control(wanted)
    # psycopg would prepare what it has seen five times.
    often = range(10)
    try:
        async with control.connect() as conn:
            for number in often:
                await conn.execute(text("SELECT :number"), {"number": number})
            assert (await conn.execute(text(PREPARED))).scalar_one() == 0
    finally:
        await control.dispose()
    async with connections.open_app_pool(wanted) as pool, pool.connection() as app:
        for number in often:
            await app.execute("SELECT %s", [number])
        assert await (await app.execute(PREPARED)).fetchone() == (0,)
