"""Redis as what processes share: see `TenantDirectory(shared=…)`. Needs the package `redis`."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from time import monotonic
from typing import Any, Self
from uuid import UUID

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from controlplane.routing.cache import CacheUnavailable
from controlplane.routing.cancels import cancels, heed
from controlplane.routing.redis_keys import (
    BATCH,
    CONNECTIONS,
    FAILED,
    SILENCE_S,
    NotBytesError,
    batches,
    is_anothers,
    pattern,
    prefix_of,
    told,
)


class RedisCache:
    """Keys below `controlplane:<installation>:`, so that installations may share a Redis.

    A call takes at most `timeout_s` seconds per command. After one that fails, Redis is left alone
    for `pause_s` seconds, in which every call raises CacheUnavailable at once. One Redis, by a URL
    (`redis://`, `rediss://`, `unix://`), for one event loop; close it, or use it as a context.
    Raises ValueError for an `installation` not of letters, digits, `_`, `.` and `-`.
    """

    def __init__(
        self,
        url: str,
        *,
        installation: str | UUID,
        timeout_s: float = 0.1,
        pause_s: float = 3.0,
    ) -> None:
        self._prefix = prefix_of(installation)
        self._channel = f"{self._prefix}changes"
        self._timeout_s = timeout_s
        self._pause_s = pause_s
        self._not_before = float("-inf")
        self._closed = False
        self._slots = asyncio.Semaphore(CONNECTIONS)
        self._client = Redis.from_pool(_pool(url, timeout_s))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """After what is under way, unless cancelled; every later call raises CacheUnavailable."""
        if self._closed:
            return
        self._closed = True
        try:
            for _ in range(CONNECTIONS):
                await self._slots.acquire()
        finally:
            await self._client.aclose()

    async def get(self, key: str) -> bytes | None:
        """As Cache.get."""
        try:
            found = await self._command("GET", self._prefix + key)
        except NotBytesError:
            return None
        return found if isinstance(found, bytes) else None

    async def set(self, key: str, value: bytes, *, ttl_s: float) -> None:
        """As Cache.set."""
        await self._command("SET", self._prefix + key, value, "PX", max(1, round(ttl_s * 1000)))

    async def delete(self, *keys: str) -> None:
        """As Cache.delete."""
        await self._unlink([self._prefix + key for key in keys])

    async def delete_prefix(self, prefix: str) -> None:
        """As Cache.delete_prefix; looks through the whole Redis, a bit at a time."""
        wanted, cursor = pattern(self._prefix + prefix), None
        while cursor != 0:
            cursor, keys = await self._command("SCAN", cursor or 0, "MATCH", wanted, "COUNT", BATCH)
            await self._unlink(keys)

    async def announce(self, subdomains: Collection[str]) -> None:
        """As SharedCache.announce."""
        for some in batches(list(subdomains)):
            await self._command("PUBLISH", self._channel, " ".join(some))

    async def heard(self) -> AsyncGenerator[list[str] | None, None]:
        """The subdomains that are announced; first None, once nothing is missed any more.

        Raises CacheUnavailable when the subscription is lost.
        """
        self._check_open()
        cancelled = cancels()
        try:
            async with self._client.pubsub() as subscription:
                await subscription.subscribe(self._channel)
                async for message in _messages(subscription, cancelled):
                    if (said := told(message)) is not None:
                        yield said[0]
        except FAILED as error:
            # A cancel while the connection ends comes out of the client as a lost connection.
            heed(cancelled, error)
            raise CacheUnavailable(f"Redis is not heard: {type(error).__name__}") from error

    def _check_open(self) -> None:
        # The client would connect again.
        if self._closed:
            raise CacheUnavailable("Redis was let go of")

    async def _unlink(self, keys: Sequence[str | bytes]) -> None:
        for some in batches(keys):
            await self._command("UNLINK", *some)

    async def _command(self, *command: str | bytes | int) -> Any:
        self._check_open()
        if monotonic() < self._not_before:
            raise CacheUnavailable("Redis did not answer lately")
        cancelled = cancels()
        try:
            # A command that is given up in its midst takes its connection along: the client
            # closes it, or the next one would read this one's answer.
            async with asyncio.timeout(self._timeout_s), self._slots:
                return await self._client.execute_command(*command)  # type: ignore[no-untyped-call]  # theirs
        except FAILED as error:
            # A cancel while the connection ends comes out of the client as a lost connection.
            heed(cancelled, error)
            if is_anothers(error):
                raise NotBytesError from error
            self._not_before = monotonic() + self._pause_s
            raise CacheUnavailable(f"Redis does not answer: {type(error).__name__}") from error


def _pool(url: str, timeout_s: float) -> ConnectionPool:
    return ConnectionPool.from_url(
        url,
        # One more for the subscription.
        max_connections=CONNECTIONS + 1,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        # It would try again ten times, for seconds.
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )


async def _messages(subscription: PubSub, cancelled: int) -> AsyncIterator[dict[str, Any]]:
    asked = False
    while True:
        # Before Python 3.12, asyncio.wait_for, by which the client sends, swallows one at times.
        heed(cancelled)
        message = await subscription.get_message(timeout=SILENCE_S)
        if message is not None:
            asked = False
            yield message
        elif asked:
            raise TimeoutError
        else:
            await subscription.ping()
            asked = True
