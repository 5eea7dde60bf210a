"""The answers that processes share through a cache: read before the registry, never instead of
knowing what has changed."""

import logging
from collections.abc import Collection
from dataclasses import dataclass

from controlplane.domain.tenants import TenantState
from controlplane.routing.cache import CacheUnavailable, SharedCache, SyncSharedCache
from controlplane.routing.known import Changes
from controlplane.routing.shared import SharedAnswer, packed, unpacked
from controlplane.routing.tenant import RoutedTenant

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SharedAges:
    """Seconds for which an answer is shared: of a tenant, and of a name that nobody holds. Well
    below the hour for which the registry remembers its changes."""

    ttl_s: float = 900.0
    negative_ttl_s: float = 30.0

    def of(self, answer: SharedAnswer) -> float:
        """How long this one is believed at most."""
        return self.negative_ttl_s if answer.tenant is None else self.ttl_s


class SecondLevel:
    """One directory's access to the cache. Whatever the cache does, nothing here raises: without
    an answer the registry is asked."""

    def __init__(self, cache: SharedCache, *, ages: SharedAges) -> None:
        self._cache = cache
        self._ages = ages

    async def get(self, subdomain: str) -> SharedAnswer | None:
        """What is written down of it; not yet judged."""
        try:
            return _read(await self._cache.get(key_of(subdomain)), subdomain)
        except CacheUnavailable:
            return None

    async def put(self, subdomain: str, tenant: RoutedTenant | None, told: Changes) -> None:
        """Share what the registry has said after it was asked for changes and had `told` these."""
        if not _is_lasting(tenant):
            return
        answer = SharedAnswer(subdomain, tenant, told.horizon, told.server, told.at)
        ttl_s = self._ages.of(answer)
        try:
            await self._cache.set(key_of(subdomain), packed(answer), ttl_s=ttl_s)
        except CacheUnavailable as error:
            log.debug("not shared: %s", error)

    async def tell(self, subdomains: Collection[str]) -> None:
        """That these have changed: nobody who knows believes what is shared of them."""
        try:
            await self._cache.delete(*map(key_of, subdomains))
            await self._cache.announce(subdomains)
        except CacheUnavailable as error:
            log.debug("not told: %s", error)


class SyncSecondLevel:
    """The same for threads."""

    def __init__(self, cache: SyncSharedCache, *, ages: SharedAges) -> None:
        self._cache = cache
        self._ages = ages

    def get(self, subdomain: str) -> SharedAnswer | None:
        """As SecondLevel.get."""
        try:
            return _read(self._cache.get(key_of(subdomain)), subdomain)
        except CacheUnavailable:
            return None

    def put(self, subdomain: str, tenant: RoutedTenant | None, told: Changes) -> None:
        """As SecondLevel.put."""
        if not _is_lasting(tenant):
            return
        answer = SharedAnswer(subdomain, tenant, told.horizon, told.server, told.at)
        ttl_s = self._ages.of(answer)
        try:
            self._cache.set(key_of(subdomain), packed(answer), ttl_s=ttl_s)
        except CacheUnavailable as error:
            log.debug("not shared: %s", error)

    def tell(self, subdomains: Collection[str]) -> None:
        """As SecondLevel.tell."""
        try:
            self._cache.delete(*map(key_of, subdomains))
            self._cache.announce(subdomains)
        except CacheUnavailable as error:
            log.debug("not told: %s", error)


def key_of(subdomain: str) -> str:
    return f"tenant:{subdomain}"


def _read(payload: bytes | None, subdomain: str) -> SharedAnswer | None:
    answer = None if payload is None else unpacked(payload)
    # Under another's name it is nobody's.
    return answer if answer is not None and answer.subdomain == subdomain else None


def _is_lasting(tenant: RoutedTenant | None) -> bool:
    """Whoever waits for a tenant that is being set up is to see it at once."""
    return tenant is None or tenant.state is not TenantState.PROVISIONING
