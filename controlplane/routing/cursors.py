"""Cursors whose answer may still be under way.

In a pipeline psycopg's own say `rowcount` -1 and `description` None until somebody fetches; taken
for the answer that is wrong. A sync cursor can wait there, an async one says what to do instead.
"""

from collections.abc import AsyncIterator, Iterator
from functools import cache
from typing import Any, cast

import psycopg
from psycopg import AsyncCursor
from psycopg.abc import PQGen


async def settled(cursor: AsyncCursor[Any]) -> AsyncCursor[Any]:
    """The cursor, once its answer is there: from then on `rowcount` and `description` are known.

    Raises the error of its statement, or of an earlier one that nobody has waited for yet.
    """
    if _pending(cursor):
        async with cursor.connection.lock:
            await cursor.connection.wait(_fetched(cursor))
    return cursor


@cache
def deferring(factory: type[Any]) -> type[Any]:
    """The connection's own class of cursors, minding that answers come later."""
    mixin = _AsyncDeferring if issubclass(factory, AsyncCursor) else _SyncDeferring
    return type(f"Pipelined{factory.__name__}", (mixin, factory), {"__slots__": ()})


def _pending(cursor: Any) -> bool:
    pipeline = cursor.connection._pipeline  # noqa: SLF001
    return pipeline is not None and any(
        queued is not None and queued[0] is cursor for queued in pipeline.result_queue
    )


def _fetched(cursor: Any) -> PQGen[None]:
    pipeline = cursor.connection._pipeline  # noqa: SLF001
    yield from pipeline._fetch_gen(flush=True)  # noqa: SLF001


class _Deferring:
    __slots__ = ()

    def _settle(self) -> None:
        raise NotImplementedError

    @property
    def rowcount(self) -> int:
        self._settle()
        return cast("int", super().rowcount)  # type: ignore[misc]  # mixed into a cursor's class

    @property
    def description(self) -> list[psycopg.Column] | None:
        self._settle()
        return cast("list[psycopg.Column] | None", super().description)  # type: ignore[misc]

    @property
    def statusmessage(self) -> str | None:
        self._settle()
        return cast("str | None", super().statusmessage)  # type: ignore[misc]


class _AsyncDeferring(_Deferring):
    __slots__ = ()

    def _settle(self) -> None:
        if _pending(self):
            raise psycopg.InterfaceError(
                "the answer is still under way: `await settled(cursor)` of controlplane.routing"
                " first, or open the transaction with pipelined=False"
            )

    async def results(self) -> AsyncIterator[Any]:
        cursor: Any = self
        await settled(cursor)
        async for result in super().results():  # type: ignore[misc]
            yield result


class _SyncDeferring(_Deferring):
    __slots__ = ()

    def _settle(self) -> None:
        cursor: Any = self
        if _pending(cursor):
            with cursor.connection.lock:
                cursor.connection.wait(_fetched(cursor))

    def results(self) -> Iterator[Any]:
        self._settle()
        yield from super().results()  # type: ignore[misc]
