"""Redis as what processes share, for threads: see `SyncTenantDirectory(shared=…)`."""

import logging
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import closing
from threading import Event
from time import monotonic
from typing import Any, Self
from uuid import UUID

from redis import BlockingConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from controlplane.routing.cache import CacheUnavailable
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
from controlplane.routing.sync_directory import SyncTenantDirectory

log = logging.getLogger(__name__)

_RECONNECT_S = 1.0


class SyncRedisCache:
    """As `RedisCache`, with the same keys and the same errors, for many threads at once.

    `timeout_s` bounds each wait: for one of its connections, for opening it, and for an answer.
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
        self._pause_s = pause_s
        self._not_before = float("-inf")
        self._closed = False
        self._client = Redis.from_pool(_pool(url, timeout_s))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Every later call raises CacheUnavailable."""
        self._closed = True
        self._client.close()

    def get(self, key: str) -> bytes | None:
        """As Cache.get."""
        try:
            found = self._command("GET", self._prefix + key)
        except NotBytesError:
            return None
        return found if isinstance(found, bytes) else None

    def set(self, key: str, value: bytes, *, ttl_s: float) -> None:
        """As Cache.set."""
        self._command("SET", self._prefix + key, value, "PX", max(1, round(ttl_s * 1000)))

    def delete(self, *keys: str) -> None:
        """As Cache.delete."""
        self._unlink([self._prefix + key for key in keys])

    def delete_prefix(self, prefix: str) -> None:
        """As Cache.delete_prefix; looks through the whole Redis, a bit at a time."""
        wanted, cursor = pattern(self._prefix + prefix), None
        while cursor != 0:
            cursor, keys = self._command("SCAN", cursor or 0, "MATCH", wanted, "COUNT", BATCH)
            self._unlink(keys)

    def announce(self, subdomains: Collection[str]) -> None:
        """As SharedCache.announce."""
        for some in batches(list(subdomains)):
            self._command("PUBLISH", self._channel, " ".join(some))

    def heard(self, stopping: Event) -> Generator[list[str] | None, None, None]:
        """As RedisCache.heard; ends within a second after `stopping` is set."""
        self._check_open()
        try:
            with self._client.pubsub() as subscription:  # type: ignore[no-untyped-call]  # theirs
                subscription.subscribe(self._channel)
                for message in _messages(subscription, stopping):
                    if (said := told(message)) is not None:
                        yield said[0]
        except FAILED as error:
            raise CacheUnavailable(f"Redis is not heard: {type(error).__name__}") from error

    def _check_open(self) -> None:
        # The client would connect again.
        if self._closed:
            raise CacheUnavailable("Redis was let go of")

    def _unlink(self, keys: Sequence[str | bytes]) -> None:
        for some in batches(keys):
            self._command("UNLINK", *some)

    def _command(self, *command: str | bytes | int) -> Any:
        self._check_open()
        if monotonic() < self._not_before:
            raise CacheUnavailable("Redis did not answer lately")
        try:
            return self._client.execute_command(*command)  # type: ignore[no-untyped-call]  # theirs
        except FAILED as error:
            if is_anothers(error):
                raise NotBytesError from error
            self._not_before = monotonic() + self._pause_s
            raise CacheUnavailable(f"Redis does not answer: {type(error).__name__}") from error


def listen_redis_sync(redis: SyncRedisCache, directory: SyncTenantDirectory, stop: Event) -> None:
    """As `listen_redis`, for a thread of its own, until `stop` is set."""
    level = logging.WARNING
    while not stop.is_set():
        try:
            with closing(redis.heard(stop)) as heard:
                for subdomains in heard:
                    directory.forget(subdomains)
                    level = logging.WARNING
        except CacheUnavailable as error:
            log.log(level, "not listening for tenants' changes: %s", error)
            level = logging.DEBUG
        stop.wait(_RECONNECT_S)


def _pool(url: str, timeout_s: float) -> BlockingConnectionPool:
    return BlockingConnectionPool.from_url(
        url,
        # One more for the subscription.
        max_connections=CONNECTIONS + 1,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )


def _messages(subscription: Any, stopping: Event) -> Iterator[dict[str, Any]]:
    heard_at, asked = monotonic(), False
    while not stopping.is_set():
        message = subscription.get_message(timeout=1.0)
        if message is not None:
            heard_at, asked = monotonic(), False
            yield message
        elif monotonic() - heard_at > SILENCE_S:
            if asked:
                raise TimeoutError
            subscription.ping()
            heard_at, asked = monotonic(), True
