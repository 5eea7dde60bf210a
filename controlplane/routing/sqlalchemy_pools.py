"""SQLAlchemy's pools, counting: `create_async_engine(url, poolclass=CountedAsyncPool)`."""

from threading import Lock
from time import monotonic
from typing import Any

from sqlalchemy import AsyncAdaptedQueuePool, QueuePool
from sqlalchemy.pool import PoolProxiedConnection

from controlplane.routing.pools import PoolFigures


class CountedPool(QueuePool):
    """As QueuePool. Whoever asks waits until he has a connection that works: what it takes to open
    and to ping one is part of it."""

    # Or it would not be quiet where SQLAlchemy is.
    _sqla_logger_namespace = "sqlalchemy.pool.CountedPool"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._counting = Lock()
        self._asked = self._served = self._given_up = 0
        self._waited_s = 0.0

    def connect(self) -> PoolProxiedConnection:
        """As QueuePool's, counted."""
        began = monotonic()
        with self._counting:
            self._asked += 1
        try:
            lent = super().connect()
        except BaseException:
            self._note(monotonic() - began, given_up=1)
            raise
        self._note(monotonic() - began, given_up=0)
        return lent

    def figures(self) -> PoolFigures:
        """What it is doing. Counts begin anew with every `dispose()` of the engine."""
        used = self.checkedout()
        with self._counting:
            return PoolFigures(
                limit=self.size() + self._max_overflow,
                size=self.checkedin() + used,
                used=used,
                waiting=self._asked - self._served - self._given_up,
                asked=self._asked,
                waited_s=self._waited_s,
                given_up=self._given_up,
            )

    def _note(self, waited_s: float, *, given_up: int) -> None:
        with self._counting:
            self._waited_s += waited_s
            self._given_up += given_up
            self._served += 1 - given_up


class CountedAsyncPool(CountedPool, AsyncAdaptedQueuePool):
    """The same for asyncio: as AsyncAdaptedQueuePool."""
