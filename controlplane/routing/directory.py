"""Which tenant holds a subdomain: remembered, and never older than a few seconds."""

import asyncio
from collections.abc import Iterable
from time import monotonic
from uuid import UUID

from controlplane.routing.connections import Pool
from controlplane.routing.known import Ages, KnownTenants
from controlplane.routing.registry import Registry
from controlplane.routing.tenant import RoutedTenant

_Answer = asyncio.Task[RoutedTenant | None]


class TenantDirectory:
    """Remembers the registry's answers, for the tasks of one event loop.

    Before an answer is given from memory, and at most every `ages.fresh_s` seconds, one query asks
    the registry what has changed. Where it cannot be asked nothing is believed: lookups raise.
    Many who ask for the same subdomain at once are one query. `timeout_s` bounds each wait.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        timeout_s: float = 5.0,
        ages: Ages | None = None,
        size: int = 20_000,
    ) -> None:
        self._registry = Registry(pool, timeout_s=timeout_s)
        self._known = KnownTenants(ages or Ages(), size=size)
        self._asked: dict[str, _Answer] = {}
        self._names: dict[UUID, str] = {}
        self._catching_up: asyncio.Task[None] | None = None

    async def lookup(self, subdomain: str) -> RoutedTenant | None:
        """The tenant that holds the subdomain, in whatever state.

        Raises TenantUnavailable where that cannot be known.
        """
        now = monotonic()
        if self._known.due(now):
            await self._catch_up(now)
        known = self._known.get(subdomain, now)
        if known is not None:
            return known.tenant
        return await self._ask(subdomain)

    async def identify(self, tenant_id: UUID) -> RoutedTenant | None:
        """The tenant of that id, in whatever state. Raises as `lookup`."""
        if (name := self._names.get(tenant_id)) is not None:
            tenant = await self.lookup(name)
            if tenant is not None and tenant.id == tenant_id:
                return tenant
        tenant = await self._registry.identify(tenant_id)
        if tenant is not None:
            self._names[tenant_id] = tenant.subdomain
        return tenant

    def forget(self, subdomains: Iterable[str] | None = None) -> None:
        """Ask anew for these the next time; None stands for all. For whoever is told of a change
        before the registry is asked (see `controlplane.routing.listen`)."""
        if subdomains is None:
            self._known.clear()
            self._asked.clear()
            return
        for subdomain in subdomains:
            self._known.forget(subdomain)
            # Its answer may be older than the change: it goes to those who wait, and is not kept.
            self._asked.pop(subdomain, None)

    async def _catch_up(self, now: float) -> None:
        running = self._catching_up
        if running is None:
            running = self._catching_up = asyncio.create_task(self._ask_for_changes())
            running.add_done_callback(self._caught_up)
        elif self._known.believed(now):
            return
        # Shielded: whoever goes away must not take the question of the others along.
        await asyncio.shield(running)

    async def _ask_for_changes(self) -> None:
        asked_at = monotonic()
        changes = await self._registry.changes(self._known.horizon)
        all_of_them = self._known.outdated(changes, asked_at)
        self.forget(None if all_of_them else changes.subdomains)
        self._known.in_contact(changes, asked_at)

    def _caught_up(self, done: asyncio.Task[None]) -> None:
        self._catching_up = None
        if not done.cancelled():
            # Else asyncio complains where everybody who waited has gone away.
            done.exception()

    async def _ask(self, subdomain: str) -> RoutedTenant | None:
        asked = self._asked.get(subdomain)
        if asked is None:
            asked = self._asked[subdomain] = asyncio.create_task(self._registry.lookup(subdomain))
            asked.add_done_callback(lambda done: self._answered(subdomain, done))
        return await asyncio.shield(asked)

    def _answered(self, subdomain: str, done: _Answer) -> None:
        if self._asked.get(subdomain) is done:
            del self._asked[subdomain]
            if not done.cancelled() and done.exception() is None:
                self._known.learn(subdomain, done.result(), monotonic())
        elif not done.cancelled():
            done.exception()
