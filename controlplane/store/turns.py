"""A queue for a provider that takes only so many requests a second, kept in PostgreSQL.

Requests are counted like all others (controlplane.domain.ratelimit), so that no second ever sees too
many. Who comes while they are used up gets a place: the time at which he would have his turn if all
before him used theirs. He goes away, comes back then, and goes before whoever has no place. The end
of the queue and each place are rows beside the counts: the time is in `newest`, in microseconds. They
may be lost like the counts; then whoever waits queues once more.
"""

from collections.abc import Callable
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool

from controlplane.domain.ratelimit import SLICES, Quota
from controlplane.errors import ProviderUnavailable
from controlplane.ports import RateLimits

_WINDOW_S = 1
# How long a place is kept for somebody who does not come.
_KEPT_S = 600
_NOW = "(1000000 * coalesce(%(at)s, extract(epoch FROM clock_timestamp())))::bigint"

_LOOK = f"""
SELECT (SELECT newest FROM public.rate_counts WHERE counter = %(place)s) - {_NOW},
  (SELECT newest FROM public.rate_counts WHERE counter = %(end)s) - {_NOW}
"""  # noqa: S608  made of constants
_JOIN = f"""
WITH joined AS (
  INSERT INTO public.rate_counts AS kept (counter, newest, counts, expires_at)
  VALUES (%(end)s, {_NOW} + %(long)s, '{{}}', to_timestamp(({_NOW} + %(long)s) / 1e6))
  ON CONFLICT (counter) DO UPDATE SET
    newest = greatest(kept.newest, {_NOW}) + %(long)s,
    expires_at = to_timestamp((greatest(kept.newest, {_NOW}) + %(long)s) / 1e6)
  RETURNING newest AS place
)
INSERT INTO public.rate_counts AS kept (counter, newest, counts, expires_at)
SELECT %(place)s, place, '{{}}', to_timestamp(place / 1e6 + %(kept)s) FROM joined
ON CONFLICT (counter) DO UPDATE SET newest = excluded.newest, expires_at = excluded.expires_at
RETURNING newest - {_NOW}
"""  # noqa: S608  made of constants
_LEAVE = "DELETE FROM public.rate_counts WHERE counter = %(place)s"


class PostgresTurns:
    """`per_s` requests in any second, of all who queue under this name.

    The pool's connections are in autocommit. `clock` is for tests, in seconds; then `counts` goes
    by it as well.
    """

    def __init__(
        self,
        pool: AsyncConnectionPool[Any],
        counts: RateLimits,
        *,
        name: str,
        per_s: int,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._pool = pool
        self._counts = counts
        self._quota = Quota(name, per_s, _WINDOW_S)
        # As fast as the counts let through in the long run.
        self._each_us = round(_WINDOW_S * 1_000_000 * (SLICES + 1) / SLICES / per_s)
        self._clock = clock

    async def take(self, holder: str, *, requests: int) -> float:
        terms = {
            "place": f"{self._quota.key}/place/{holder}",
            "end": f"{self._quota.key}/end",
            "long": self._each_us * requests,
            "kept": _KEPT_S,
            "at": self._clock and self._clock(),
        }
        try:
            async with self._pool.connection() as conn:
                return await self._take(conn, terms, requests)
        except psycopg.Error as error:
            raise ProviderUnavailable(f"PostgreSQL: {type(error).__name__}") from error

    async def _take(
        self, conn: psycopg.AsyncConnection[Any], terms: dict[str, Any], requests: int
    ) -> float:
        ((ahead_us, queue_us),) = await (await conn.execute(_LOOK, terms)).fetchall()
        if ahead_us is not None and ahead_us > 0:
            return float(ahead_us) / 1e6
        if ahead_us is None and (queue_us or 0) > 0:
            return await self._join(conn, terms)
        refused_s = await self._refused_s(requests)
        if refused_s and ahead_us is None:
            return await self._join(conn, terms)
        if not refused_s and ahead_us is not None:
            await conn.execute(_LEAVE, terms)
        return refused_s

    async def _join(self, conn: psycopg.AsyncConnection[Any], terms: dict[str, Any]) -> float:
        ((ahead_us,),) = await (await conn.execute(_JOIN, terms)).fetchall()
        return float(ahead_us) / 1e6

    async def _refused_s(self, requests: int) -> float:
        """0 if so many more are admitted. Those before one that is refused count all the same."""
        for _ in range(requests):
            verdict = await self._counts.hit([self._quota])
            if not verdict.admitted:
                return max(verdict.retry_after_s, 1e-3)
        return 0.0
