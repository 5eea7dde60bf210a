"""What processes may share besides PostgreSQL: a cache, which may lose everything at any time."""

from collections.abc import Callable, Collection
from time import monotonic
from typing import Protocol


class CacheUnavailable(Exception):  # noqa: N818  named for what happened, as all our errors
    """The cache does not answer, or not in time."""


class Cache(Protocol):
    """Bytes under keys. What is there may be gone, or somebody else's rubbish: whoever reads it
    checks it. All raise CacheUnavailable, and soon."""

    async def get(self, key: str) -> bytes | None:
        """None for what is not there."""

    async def set(self, key: str, value: bytes, *, ttl_s: float) -> None:
        """Kept for so many seconds at most, in the place of what was there."""

    async def delete(self, *keys: str) -> None:
        """Fine for what is not there."""

    async def delete_prefix(self, prefix: str) -> None:
        """Every key that begins so; the empty prefix empties it."""


class SharedCache(Cache, Protocol):
    """A cache whose users also hear of each other."""

    async def announce(self, subdomains: Collection[str]) -> None:
        """Tell whoever listens that these tenants have changed; who does not hear it asks the
        registry soon enough."""


class SyncSharedCache(Protocol):
    """The same for threads."""

    def get(self, key: str) -> bytes | None:
        """As Cache.get."""

    def set(self, key: str, value: bytes, *, ttl_s: float) -> None:
        """As Cache.set."""

    def delete(self, *keys: str) -> None:
        """As Cache.delete."""

    def delete_prefix(self, prefix: str) -> None:
        """As Cache.delete_prefix."""

    def announce(self, subdomains: Collection[str]) -> None:
        """As SharedCache.announce."""


class MemoryCache:
    """In this process alone. `followers` are called with what is announced."""

    def __init__(self, *, size: int = 20_000, clock: Callable[[], float] = monotonic) -> None:
        self._size = size
        self._clock = clock
        self._kept: dict[str, tuple[bytes, float]] = {}
        self.followers: list[Callable[[Collection[str]], None]] = []

    async def get(self, key: str) -> bytes | None:
        value, until = self._kept.get(key, (b"", float("-inf")))
        return value if self._clock() < until else None

    async def set(self, key: str, value: bytes, *, ttl_s: float) -> None:
        self._kept.pop(key, None)
        if len(self._kept) >= self._size:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = (value, self._clock() + ttl_s)

    async def delete(self, *keys: str) -> None:
        for key in keys:
            self._kept.pop(key, None)

    async def delete_prefix(self, prefix: str) -> None:
        await self.delete(*[key for key in self._kept if key.startswith(prefix)])

    async def announce(self, subdomains: Collection[str]) -> None:
        for follower in self.followers:
            follower(subdomains)
