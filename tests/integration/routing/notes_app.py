"""An application with all that a request can do in a tenant's transaction, good and bad."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import cycle
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from controlplane.routing import (
    Bulkhead,
    SyncTenancy,
    Tenancy,
    TenantDirectory,
    TenantMiddleware,
)
from controlplane.routing.sqlalchemy_sessions import async_tenant_sessions
from controlplane.testing import Ask
from controlplane.testing.ground import BASE_DOMAIN

NOTES = """
CREATE TABLE notes (id int PRIMARY KEY, body text NOT NULL);
INSERT INTO notes
SELECT 1, 'marker-' || replace(current_setting('app.current_tenant_id'), '-', '')
"""
ASKS = (
    *[Ask("/read")] * 4,
    *[Ask("/write", "POST", "{marker}")] * 2,
    Ask("/savepoint"),
    Ask("/stream"),
    Ask("/pieces"),
    Ask("/whole"),
    Ask("/session"),
    Ask("/thread"),
    Ask("/slow"),
    Ask("/fail", fails=True),
    Ask("/taken", fails=True),
    Ask("/say-set"),
    Ask("/swallow", fails=True),
)
_READ = "SELECT body FROM notes WHERE id = %s"


class NotesApp:
    """`tenancy` opens its transactions; what a request does is its path."""

    def __init__(self, tenancy: Any, url: str) -> None:
        self.tenancy = tenancy
        self._others = _Others(url)
        # Both forms, in turns: they keep the same promises.
        self._pipelined = cycle((True, True, False))

    def _transaction(self) -> Any:
        return self.tenancy.transaction(pipelined=next(self._pipelined))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await self._others.live(receive, send)
        do: Callable[..., Awaitable[None]] = getattr(self, scope["path"][1:].replace("-", "_"))
        return await do(_Answer(receive, send))

    async def read(self, answer: "_Answer") -> None:
        async with self._transaction() as conn:
            found = await _note(conn)
        await answer.all_of(found)

    async def write(self, answer: "_Answer") -> None:
        body = (await answer.receive()).get("body", b"").decode()
        async with self._transaction() as conn:
            await conn.execute(
                "INSERT INTO notes VALUES (2, %s) ON CONFLICT (id) DO UPDATE SET body = %s",
                [body, body],
            )
            written = await _note(conn, 2)
        await answer.all_of(written)

    async def savepoint(self, answer: "_Answer") -> None:
        async with self._transaction() as conn:
            async with conn.transaction(force_rollback=True):
                await conn.execute("INSERT INTO notes VALUES (3, 'gone')")
                async with conn.transaction():
                    found = await _note(conn)
            try:
                async with conn.transaction():
                    await conn.execute("INSERT INTO notes VALUES (4, 'gone'), (1, 'taken')")
            except psycopg.errors.UniqueViolation:
                found += await _note(conn)
        await answer.all_of(found)

    async def stream(self, answer: "_Answer") -> None:
        """Within one transaction, which lasts as long as the client reads."""
        async with self._transaction() as conn:
            await answer.begin()
            for _ in range(3):
                await answer.piece(await _note(conn))
        await answer.end()

    async def pieces(self, answer: "_Answer") -> None:
        """Every piece in a transaction of its own."""
        await answer.begin()
        for _ in range(3):
            async with self._transaction() as conn:
                found = await _note(conn)
            await answer.piece(found)
        await answer.end()

    async def whole(self, answer: "_Answer") -> None:
        (found,) = await self.tenancy.run([(_READ, [1])])
        await answer.all_of(found.rows[0][0])

    async def session(self, answer: "_Answer") -> None:
        async with self._others.sessions() as session, session.begin():
            found = (
                await session.execute(text("SELECT body FROM notes WHERE id = 1"))
            ).scalar_one()
            async with session.begin_nested():
                await session.execute(text("UPDATE notes SET body = body"))
        await answer.all_of(found)

    async def thread(self, answer: "_Answer") -> None:
        await answer.all_of(await asyncio.to_thread(self._others.read))

    async def slow(self, answer: "_Answer") -> None:
        async with self._transaction() as conn:
            await conn.execute("UPDATE notes SET body = body")
            await conn.execute("SELECT pg_sleep(0.003)")
            found = await _note(conn)
        await answer.all_of(found)

    async def fail(self, answer: "_Answer") -> None:
        async with self._transaction() as conn:
            await answer.begin()
            await conn.execute("DELETE FROM notes")
            await answer.piece(await _note(conn, 2))
            raise RuntimeError("boom")

    async def taken(self, answer: "_Answer") -> None:
        async with self._transaction() as conn:
            await conn.execute("INSERT INTO notes VALUES (1, 'taken')")
        await answer.all_of("")

    async def say_set(self, answer: "_Answer") -> None:
        """Careless code: none of it may outlive the transaction."""
        async with self._transaction() as conn:
            await conn.execute("SET search_path FROM CURRENT")
            found = await _note(conn)
        await answer.all_of(found)

    async def swallow(self, answer: "_Answer") -> None:
        async with self._transaction() as conn:
            await conn.execute("DELETE FROM notes")
            try:
                await _note(conn, "no number")
            except psycopg.Error:
                await answer.begin()
        await answer.end()


class _Others:
    """One connection for SQLAlchemy and one for threads. Behind a pooler they are the same as all
    the others."""

    def __init__(self, url: str) -> None:
        driven = make_url(_as_url(url))
        self._engine = create_async_engine(driven, pool_size=1, max_overflow=0)
        self.sessions = async_tenant_sessions(self._engine)
        self._pool = ConnectionPool(url, min_size=1, max_size=1, open=False, timeout=60)
        self._tenancy = SyncTenancy(self._pool)

    def read(self) -> str:
        with self._tenancy.transaction() as conn:
            row = conn.execute(_READ, [1]).fetchone()
        return "" if row is None else str(row[0])

    async def live(self, receive: Any, send: Any) -> None:
        await receive()
        await asyncio.to_thread(self._pool.open, wait=True)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asyncio.to_thread(self._pool.close)
        await self._engine.dispose()
        await send({"type": "lifespan.shutdown.complete"})


def _as_url(conninfo: str) -> str:
    parts = conninfo_to_dict(conninfo)
    where = "{user}:{password}@{host}:{port}/{dbname}".format_map(parts)
    return f"postgresql+psycopg://{where}"


class _Answer:
    def __init__(self, receive: Any, send: Any) -> None:
        self.receive = receive
        self._send = send

    async def begin(self) -> None:
        await self._send({"type": "http.response.start", "status": 200, "headers": []})

    async def piece(self, text: str) -> None:
        await self._send({"type": "http.response.body", "body": text.encode(), "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def all_of(self, text: str) -> None:
        await self.begin()
        await self.piece(text)
        await self.end()


async def _note(conn: Any, number: Any = 1) -> str:
    row = await (await conn.execute(_READ, [number])).fetchone()
    return "" if row is None else str(row[0])


def create_app(pool: Any, *, tenancy: Any = None, directory: Any = None) -> Any:
    """Behind the middleware; `tenancy` and `directory` take the place of ours."""
    # Few tenants before a connection is replaced: that happens all the time, too.
    ours = Tenancy(pool, bulkhead=Bulkhead(2, wait_s=60), tenants_per_connection=40)
    app = NotesApp(tenancy or ours, pool.conninfo)
    # All wait for the one connection, also those who ask the registry.
    asked = directory or TenantDirectory(pool, timeout_s=60)
    return TenantMiddleware(app, directory=asked, base_domain=BASE_DOMAIN)
