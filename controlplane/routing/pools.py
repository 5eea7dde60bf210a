"""What a pool of connections is doing, in numbers that mean the same of every pool."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class PoolFigures:
    """`limit`, `size` and `used` are connections: allowed, open, lent. `waiting` are those who ask
    for one right now. Since the pool was opened: `asked` how often, `waited_s` the seconds that this
    took them together, `given_up` how many went away without one."""

    limit: int
    size: int
    used: int
    waiting: int
    asked: int
    waited_s: float
    given_up: int


class Counting(Protocol):
    """A pool of psycopg_pool, async or sync."""

    def get_stats(self) -> dict[str, int]: ...


def pool_figures(pool: Counting) -> PoolFigures:
    """Of psycopg's pools. One that asks for a connection that is idle does not wait."""
    told = pool.get_stats()
    # It leaves out what it has not counted yet.
    size = told.get("pool_size", 0)
    return PoolFigures(
        limit=told.get("pool_max", 0),
        size=size,
        used=size - told.get("pool_available", 0),
        waiting=told.get("requests_waiting", 0),
        asked=told.get("requests_num", 0),
        waited_s=told.get("requests_wait_ms", 0) / 1000,
        given_up=told.get("requests_errors", 0),
    )
