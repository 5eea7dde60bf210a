"""The directory for threads: WSGI applications, Django, scripts."""

from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from threading import Lock
from time import monotonic
from typing import TypeVar
from uuid import UUID

from controlplane.routing.cache import SyncSharedCache
from controlplane.routing.connections import SyncPool
from controlplane.routing.known import Ages, KnownTenants
from controlplane.routing.recent import RecentChanges, in_contact
from controlplane.routing.registry import SyncRegistry
from controlplane.routing.second_level import SharedAges, SyncSecondLevel
from controlplane.routing.shared import SharedAnswer
from controlplane.routing.tenant import RoutedTenant

_T = TypeVar("_T")
_Answer = Future[RoutedTenant | None]


class SyncTenantDirectory:
    """As TenantDirectory, for many threads at once; `shared` is such as a
    `controlplane.routing.redis_sync.SyncRedisCache`."""

    def __init__(
        self,
        pool: SyncPool,
        *,
        ages: Ages | None = None,
        size: int = 20_000,
        shared: SyncSharedCache | None = None,
        shared_ages: SharedAges | None = None,
    ) -> None:
        self._registry = SyncRegistry(pool)
        self._known = KnownTenants(ages or Ages(), size=size)
        self._asked: dict[str, _Answer] = {}
        self._names: dict[UUID, str] = {}
        self._catching_up: Future[None] | None = None
        self._recent = RecentChanges(limit=size)
        self._shared_ages = shared_ages or SharedAges()
        self._shared = SyncSecondLevel(shared, ages=self._shared_ages) if shared else None
        # Held for looking and writing down, never while the registry is asked.
        self._lock = Lock()

    def lookup(self, subdomain: str) -> RoutedTenant | None:
        """As TenantDirectory.lookup, with the same errors."""
        now = monotonic()
        if self._known.due(now):
            self._catch_up(now)
        with self._lock:
            known = self._known.get(subdomain, now)
            if known is not None:
                return known.tenant
            asked = self._asked.get(subdomain)
            mine = asked is None
            if asked is None:
                asked = self._asked[subdomain] = Future()
        if mine:
            self._ask(subdomain, asked)
        return asked.result()

    def identify(self, tenant_id: UUID) -> RoutedTenant | None:
        """As TenantDirectory.identify, with the same errors."""
        if (name := self._names.get(tenant_id)) is not None:
            tenant = self.lookup(name)
            if tenant is not None and tenant.id == tenant_id:
                return tenant
        tenant = self._registry.identify(tenant_id)
        if tenant is not None:
            self._names[tenant_id] = tenant.subdomain
        return tenant

    def forget(self, subdomains: Iterable[str] | None = None) -> None:
        """As TenantDirectory.forget."""
        names = None if subdomains is None else frozenset(subdomains)
        with self._lock:
            self._recent.doubt(names, monotonic())
            self._forget(names)

    def tell(self, subdomains: Collection[str]) -> None:
        """As TenantDirectory.tell; returns when the others are told."""
        self.forget(subdomains)
        self._pass_on(subdomains)

    def _pass_on(self, subdomains: Collection[str]) -> None:
        if self._shared is not None and subdomains:
            self._shared.tell(subdomains)

    def _forget(self, subdomains: Iterable[str] | None) -> None:
        if subdomains is None:
            self._known.clear()
            self._asked.clear()
            return
        for subdomain in subdomains:
            self._known.forget(subdomain)
            self._asked.pop(subdomain, None)

    def _catch_up(self, now: float) -> None:
        with self._lock:
            if not self._known.due(now):
                # Another thread was faster than this one was to get here.
                return
            running = self._catching_up
            mine = running is None
            if running is None:
                running = self._catching_up = Future()
                since = self._known.horizon
            elif self._known.believed(now):
                return
        if mine:
            self._begin_to_ask(running, since)
        running.result()

    def _learn_since(self, answer: SharedAnswer) -> None:
        """As TenantDirectory._learn_since."""
        while True:
            with self._lock:
                running = self._catching_up
                if running is None:
                    if self._recent.can_judge(answer):
                        return
                    mine = self._catching_up = Future()
                    break
            running.result()
        self._begin_to_ask(mine, answer.horizon)
        mine.result()

    def _begin_to_ask(self, asking: Future[None], since: int | None) -> None:
        news: list[str] = []
        _settle(asking, lambda: news.extend(self._ask_for_changes(since)))
        # When nobody waits for it any more: it is a hint.
        self._pass_on(news)

    def _ask_for_changes(self, since: int | None) -> frozenset[str]:
        try:
            asked_at = monotonic()
            changes = self._registry.changes(since)
            with self._lock:
                contact = in_contact(
                    self._known, self._recent, changes, since=since, asked_at=asked_at
                )
                self._forget(contact.forget)
                return contact.news
        finally:
            with self._lock:
                self._catching_up = None

    def _ask(self, subdomain: str, asked: _Answer) -> None:
        _settle(asked, lambda: self._find(subdomain))
        with self._lock:
            if self._asked.get(subdomain) is asked:
                del self._asked[subdomain]
                if asked.exception() is None:
                    self._known.learn(subdomain, asked.result(), monotonic())

    def _find(self, subdomain: str) -> RoutedTenant | None:
        if self._shared is None:
            return self._registry.lookup(subdomain)
        answer = self._shared.get(subdomain)
        if answer is not None and self._stands(answer):
            return answer.tenant
        with self._lock:
            # What was told before the question is surely in its answer.
            told = self._known.latest
        tenant = self._registry.lookup(subdomain)
        if told is not None:
            self._shared.put(subdomain, tenant, told)
        return tenant

    def _stands(self, answer: SharedAnswer) -> bool:
        with self._lock:
            if not self._recent.comparable(answer, ttl_s=self._shared_ages.of(answer)):
                return False
            known = self._recent.can_judge(answer)
        if not known:
            self._learn_since(answer)
        with self._lock:
            return self._recent.can_judge(answer) and self._recent.vouches(answer)


def _settle(future: Future[_T], answer: Callable[[], _T]) -> None:
    """Give everybody who waits the answer, or the error."""
    try:
        future.set_result(answer())
    except BaseException as error:
        future.set_exception(error)
        if not isinstance(error, Exception):
            raise
