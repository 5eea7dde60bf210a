"""The queue before a provider that takes only so many requests a second, kept in PostgreSQL.

All of it is one row beside the counts of requests: `newest` is when it was written, in microseconds,
`counts` what controlplane.domain.turns says, in times before or after that. It may be lost like the
counts; then whoever waits queues once more.
"""

import asyncio
from binascii import crc32
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg_pool import AsyncConnectionPool

from controlplane.domain.turns import Pace, Place, Queue, Turn
from controlplane.errors import ProviderUnavailable

# A request arrives somewhat later than it was let through, one more so than another: what lies within
# a second there may lie within more than that here.
_WINDOW_US = 1_200_000
_KEPT_S = 3600
# So often a row is read again that somebody else has written since.
_TRIES = 50
_NOW = "(1000000 * coalesce(%(at)s, extract(epoch FROM clock_timestamp())))::bigint"

_READ = f"""
SELECT {_NOW}, newest, counts
FROM (SELECT) AS one LEFT JOIN public.rate_counts ON counter = %(queue)s
"""  # noqa: S608  made of constants
# No lock is held between the two: a worker that freezes there stops nobody.
_WRITE = """
INSERT INTO public.rate_counts AS kept (counter, newest, counts, expires_at)
VALUES (%(queue)s, %(now)s, %(counts)s::int[], clock_timestamp() + make_interval(secs => %(kept)s))
ON CONFLICT (counter) DO UPDATE SET
  newest = excluded.newest, counts = excluded.counts, expires_at = excluded.expires_at
WHERE kept.newest = %(was_newest)s AND kept.counts = %(was_counts)s::int[]
RETURNING 1
"""


class PostgresTurns:
    """`per_s` requests in any second, of all who queue under this name.

    The pool's connections are in autocommit. `clock` and `pause` are for tests: seconds, instead of
    the database's, and how to let some pass.
    """

    def __init__(
        self,
        pool: AsyncConnectionPool[Any],
        *,
        name: str,
        per_s: int,
        clock: Callable[[], float] | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._pool = pool
        self._queue = f"{name}/queue"
        self._pace = Pace(per_s, _WINDOW_US)
        self._clock = clock
        self._pause = pause

    async def take(self, holder: str, *, requests: int) -> float:
        who = _number(holder)

        def taken(queue: Queue, now_us: int) -> tuple[Queue, Turn]:
            return queue.take(who, requests=requests, now_us=now_us, pace=self._pace)

        turn = await self._changed(taken)
        if not turn.has_come:
            return turn.in_us / 1e6
        if turn.in_us:
            await self._pause(turn.in_us / 1e6)
        return 0.0

    async def put_first(self, holder: str, *, requests: int) -> None:
        who = _number(holder)

        def put(queue: Queue, now_us: int) -> tuple[Queue, Turn]:
            after = queue.put_first(who, requests=requests, now_us=now_us)
            return after, Turn(has_come=False, in_us=0)

        await self._changed(put)

    async def _changed(self, change: Callable[[Queue, int], tuple[Queue, Turn]]) -> Turn:
        try:
            async with self._pool.connection() as conn:
                for _ in range(_TRIES):
                    kept = await self._read(conn)
                    queue, turn = change(kept.queue, kept.now_us)
                    if await self._write(conn, kept, queue):
                        return turn
        except psycopg.Error as error:
            raise ProviderUnavailable(f"PostgreSQL: {type(error).__name__}") from error
        raise ProviderUnavailable("Too many join the queue before the provider at once.")

    async def _read(self, conn: psycopg.AsyncConnection[Any]) -> "_Kept":
        asked = {"queue": self._queue, "at": self._clock and self._clock()}
        (row,) = await (await conn.execute(_READ, asked)).fetchall()
        return _Kept(*row)

    async def _write(self, conn: psycopg.AsyncConnection[Any], kept: "_Kept", queue: Queue) -> bool:
        told = {
            "queue": self._queue,
            "now": kept.now_us,
            "counts": _to_counts(queue, kept.now_us),
            "kept": _KEPT_S,
            "was_newest": kept.newest,
            "was_counts": kept.counts,
        }
        return await (await conn.execute(_WRITE, told)).fetchone() is not None


class _Kept(NamedTuple):
    """The row, or Nones, and what time it is."""

    now_us: int
    newest: int | None
    counts: list[int] | None

    @property
    def queue(self) -> Queue:
        return _from_counts(self.counts, self.newest) if self.counts and self.newest else Queue()


def _to_counts(queue: Queue, now_us: int) -> list[int]:
    """How many went, when each did in microseconds, and of each place holder, requests and when it
    is due in milliseconds; of times what is between them and now, lest they need more than 32 bits."""
    counts = [len(queue.went), *(at - now_us for at in queue.went)]
    for one in queue.waiting:
        counts += [one.holder, one.requests, (one.due_us - now_us) // 1_000]
    return counts


def _from_counts(counts: Sequence[int], now_us: int) -> Queue:
    went, places = counts[1 : 1 + counts[0]], counts[1 + counts[0] :]
    return Queue(
        tuple(at + now_us for at in went),
        tuple(
            Place(holder, requests, due * 1_000 + now_us)
            for holder, requests, due in zip(places[::3], places[1::3], places[2::3], strict=True)
        ),
    )


def _number(holder: str) -> int:
    """Of 32 bits. Two who have the same share a place; the second then queues once more."""
    return crc32(holder.encode()) - 2**31
