"""The answers that processes share through a cache: read before the registry, never instead of
knowing what has changed."""

import logging
from collections.abc import Collection
from dataclasses import dataclass

from controlplane.domain.tenants import TenantState
from controlplane.routing.cache import CacheUnavailable, SharedCache
from controlplane.routing.known import Changes
from controlplane.routing.recent import RecentChanges
from controlplane.routing.shared import SharedAnswer, packed, unpacked
from controlplane.routing.tenant import RoutedTenant

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SharedAges:
    """Seconds for which an answer is shared: of a tenant, and of a name that nobody holds. Well
    below the hour for which the registry remembers its changes."""

    ttl_s: float = 900.0
    negative_ttl_s: float = 30.0


class SecondLevel:
    """One directory's access to the cache. Whatever the cache does, nothing here raises: without
    an answer the registry is asked."""

    def __init__(self, cache: SharedCache, *, ages: SharedAges) -> None:
        self._cache = cache
        self._ages = ages

    async def get(self, subdomain: str, recent: RecentChanges) -> SharedAnswer | None:
        """An answer that `recent` may judge; not yet judged."""
        try:
            payload = await self._cache.get(_key(subdomain))
        except CacheUnavailable:
            return None
        answer = None if payload is None else unpacked(payload)
        if answer is None or answer.subdomain != subdomain:
            return None
        return answer if recent.comparable(answer, ttl_s=self._ttl_s(answer.tenant)) else None

    async def put(self, subdomain: str, tenant: RoutedTenant | None, told: Changes) -> None:
        """Share what the registry has said after it was asked for changes and had `told` these."""
        if tenant is not None and tenant.state is TenantState.PROVISIONING:
            return
        answer = SharedAnswer(subdomain, tenant, told.horizon, told.server, told.at)
        try:
            await self._cache.set(_key(subdomain), packed(answer), ttl_s=self._ttl_s(tenant))
        except CacheUnavailable as error:
            log.debug("not shared: %s", error)

    async def tell(self, subdomains: Collection[str]) -> None:
        """That these have changed: nobody who knows believes what is shared of them."""
        try:
            await self._cache.delete(*map(_key, subdomains))
            await self._cache.announce(subdomains)
        except CacheUnavailable as error:
            log.debug("not told: %s", error)

    def _ttl_s(self, tenant: RoutedTenant | None) -> float:
        return self._ages.negative_ttl_s if tenant is None else self._ages.ttl_s


def _key(subdomain: str) -> str:
    return f"tenant:{subdomain}"
