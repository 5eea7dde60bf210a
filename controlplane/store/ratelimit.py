"""Requests counted in PostgreSQL: what all replicas share without anything else beside it."""

from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.ratelimit import Quota, Standing, Verdict
from controlplane.errors import ProviderUnavailable
from controlplane.store.ratelimit_tables import rate_counts

_ADMIT = "SELECT * FROM public.admit_request(%s::text[], %s::int[], %s::int[], %s)"


class PostgresRateLimits:
    """By the database's clock; each hit is a transaction and a round trip of its own.

    The pool's connections are in autocommit. `clock` is for tests: seconds, instead of the
    database's.
    """

    def __init__(
        self, pool: AsyncConnectionPool[Any], *, clock: Callable[[], float] | None = None
    ) -> None:
        self._pool = pool
        self._clock = clock

    async def hit(self, quotas: Sequence[Quota]) -> Verdict:
        counters = [quota.counter for quota in quotas]
        limits = [quota.limit for quota in quotas]
        windows = [quota.window_s for quota in quotas]
        at_s = self._clock and self._clock()
        try:
            async with self._pool.connection() as conn:
                cursor = await conn.execute(_ADMIT, [counters, limits, windows, at_s])
                ((admitted, remaining, reset_s),) = await cursor.fetchall()
        except psycopg.Error as error:
            raise ProviderUnavailable(f"PostgreSQL: {type(error).__name__}") from error
        return Verdict(admitted, tuple(map(Standing, remaining, reset_s)))


async def forget_expired(conn: AsyncConnection) -> None:
    """Delete the counters in which nothing counts any more, except those that are in use just now.

    Reads the table as it is: there are no more rows in it than counters of the last minutes, and an
    index by time would cost every hit.
    """
    expired = (
        select(rate_counts.c.counter)
        .where(rate_counts.c.expires_at <= func.clock_timestamp())
        .with_for_update(skip_locked=True)
    )
    await conn.execute(delete(rate_counts).where(rate_counts.c.counter.in_(expired)))
