"""Which tenant holds a subdomain or a host: remembered, and never older than a few seconds."""

import asyncio
from collections.abc import Collection, Iterable
from time import monotonic
from uuid import UUID

from controlplane.routing.cache import SharedCache
from controlplane.routing.connections import Pool
from controlplane.routing.known import Ages, KnownTenants
from controlplane.routing.recent import RecentChanges, in_contact
from controlplane.routing.registry import Registry
from controlplane.routing.second_level import SecondLevel, SharedAges
from controlplane.routing.shared import SharedAnswer
from controlplane.routing.tenant import RoutedTenant

_Answer = asyncio.Task[RoutedTenant | None]


class TenantDirectory:
    """Remembers the registry's answers, for the tasks of one event loop.

    Before an answer is given from memory, and at most every `ages.fresh_s` seconds, one query asks
    the registry what has changed. Where it cannot be asked nothing is believed: lookups raise.
    Many who ask for the same subdomain at once are one query. `timeout_s` bounds each wait.

    What is not remembered is looked for in `shared`, such as a
    `controlplane.routing.redis_cache.RedisCache`, before the registry is asked; an answer from
    there is believed where the registry's changes do not speak against it, so it is never older
    than a remembered one. Where `shared` does not answer, all is as without it.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        timeout_s: float = 5.0,
        ages: Ages | None = None,
        size: int = 20_000,
        shared: SharedCache | None = None,
        shared_ages: SharedAges | None = None,
    ) -> None:
        self._registry = Registry(pool, timeout_s=timeout_s)
        self._known = KnownTenants(ages or Ages(), size=size)
        self._asked: dict[str, _Answer] = {}
        self._names: dict[UUID, str] = {}
        self._catching_up: asyncio.Task[None] | None = None
        self._recent = RecentChanges(limit=size)
        self._shared_ages = shared_ages or SharedAges()
        self._shared = SecondLevel(shared, ages=self._shared_ages) if shared else None
        self._telling: set[asyncio.Task[None]] = set()

    async def lookup(self, subdomain: str) -> RoutedTenant | None:
        """The tenant that holds the subdomain, or whose own domain it is, in whatever state.

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
        names = None if subdomains is None else frozenset(subdomains)
        self._recent.doubt(names, monotonic())
        self._forget(names)

    def tell(self, subdomains: Collection[str]) -> None:
        """Forget these, and tell the other processes of it where there is something shared."""
        self.forget(subdomains)
        self._pass_on(subdomains)

    def _forget(self, subdomains: Iterable[str] | None) -> None:
        if subdomains is None:
            self._known.clear()
            self._asked.clear()
            return
        for subdomain in subdomains:
            self._known.forget(subdomain)
            # Its answer may be older than the change: it goes to those who wait, and is not kept.
            self._asked.pop(subdomain, None)

    def _pass_on(self, subdomains: Collection[str]) -> None:
        if self._shared is None or not subdomains:
            return
        # Nobody waits for it: it is a hint.
        telling = asyncio.create_task(self._shared.tell(subdomains))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)

    async def _catch_up(self, now: float) -> None:
        running = self._catching_up
        if running is None:
            running = self._begin_to_ask(self._known.horizon)
        elif self._known.believed(now):
            return
        # Shielded: whoever goes away must not take the question of the others along.
        await asyncio.shield(running)

    async def _learn_since(self, answer: SharedAnswer) -> None:
        """Have the registry tell what may speak against the answer: once for all that are as old
        or younger."""
        while (running := self._catching_up) is not None and not running.done():
            await asyncio.shield(running)
        if not self._recent.can_judge(answer):
            await asyncio.shield(self._begin_to_ask(answer.horizon))

    def _begin_to_ask(self, since: int | None) -> asyncio.Task[None]:
        asking = self._catching_up = asyncio.create_task(self._ask_for_changes(since))
        asking.add_done_callback(self._caught_up)
        return asking

    async def _ask_for_changes(self, since: int | None) -> None:
        asked_at = monotonic()
        changes = await self._registry.changes(since)
        contact = in_contact(self._known, self._recent, changes, since=since, asked_at=asked_at)
        self._forget(contact.forget)
        self._pass_on(contact.news)

    def _caught_up(self, done: asyncio.Task[None]) -> None:
        if self._catching_up is done:
            self._catching_up = None
        if not done.cancelled():
            # Else asyncio complains where everybody who waited has gone away.
            done.exception()

    async def _ask(self, subdomain: str) -> RoutedTenant | None:
        asked = self._asked.get(subdomain)
        if asked is None:
            asked = self._asked[subdomain] = asyncio.create_task(self._find(subdomain))
            asked.add_done_callback(lambda done: self._answered(subdomain, done))
        return await asyncio.shield(asked)

    async def _find(self, subdomain: str) -> RoutedTenant | None:
        told = self._known.latest
        if self._shared is None or told is None:
            return await self._registry.lookup(subdomain)
        answer = await self._shared.get(subdomain)
        if answer is not None and await self._stands(answer):
            return answer.tenant
        # What was told before the question is surely in its answer.
        told = self._known.latest or told
        tenant = await self._registry.lookup(subdomain)
        await self._shared.put(subdomain, tenant, told)
        return tenant

    async def _stands(self, answer: SharedAnswer) -> bool:
        if not self._recent.comparable(answer, ttl_s=self._shared_ages.of(answer)):
            return False
        if not self._recent.can_judge(answer):
            await self._learn_since(answer)
        return self._recent.can_judge(answer) and self._recent.vouches(answer)

    def _answered(self, subdomain: str, done: _Answer) -> None:
        if self._asked.get(subdomain) is done:
            del self._asked[subdomain]
            if not done.cancelled() and done.exception() is None:
                self._known.learn(subdomain, done.result(), monotonic())
        elif not done.cancelled():
            done.exception()
