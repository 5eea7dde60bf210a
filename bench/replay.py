"""The statements of one drive, recorded as the engine sends them, to be sent again by bare psycopg."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import Engine, event

Statement = tuple[bytes, Any]


@dataclass
class Script:
    """Transactions in order, the first of them the claim. `ids` are the recorded operation and its
    tenant, which every statement names."""

    transactions: list[list[Statement]] = field(default_factory=list)
    ids: tuple[UUID, UUID] = (UUID(int=0), UUID(int=0))

    async def play(self, conn: psycopg.AsyncConnection) -> None:
        """Claims the next due operation and goes its whole way."""
        claim, *rest = self.transactions
        async with conn.transaction():
            row = await (await conn.execute(*claim[0])).fetchone()
        for statements in rest:
            async with conn.transaction():
                for text, parameters in statements:
                    found = await conn.execute(text, self._of(parameters, row))
                    if found.description:
                        await found.fetchall()

    def play_blocking(self, conn: psycopg.Connection) -> None:
        """The same without an event loop."""
        claim, *rest = self.transactions
        with conn.transaction():
            row = conn.execute(*claim[0]).fetchone()
        for statements in rest:
            with conn.transaction():
                for text, parameters in statements:
                    found = conn.execute(text, self._of(parameters, row))
                    if found.description:
                        found.fetchall()

    def _of(self, parameters: Any, row: Any) -> Any:
        assert row is not None, "nothing is due"  # noqa: S101  the bench enters what it plays
        operation, tenant = self.ids
        there = {operation: row[0], str(operation): str(row[0]), tenant: row[1]}
        return {
            name: there.get(value, value) if isinstance(value, UUID | str) else value
            for name, value in parameters.items()
        }


async def recorded(engine: Engine, drive: Callable[[], Awaitable[UUID]]) -> Script:
    """What `drive` sends through the engine; it returns the operation that it drove."""
    script = Script()

    def begin(*_told: Any) -> None:
        script.transactions.append([])

    def record(*told: Any) -> None:
        script.transactions[-1].append((told[2].encode(), told[3]))

    listeners = {"begin": begin, "before_cursor_execute": record}
    for name, listener in listeners.items():
        event.listen(engine, name, listener)
    operation = await drive()
    for name, listener in listeners.items():
        event.remove(engine, name, listener)
    script.ids = (operation, _tenant(script))
    return script


def _tenant(script: Script) -> UUID:
    """The first statement after the claim reads the tenant."""
    ((_, parameters),) = script.transactions[1]
    (tenant,) = parameters.values()
    return UUID(str(tenant))
