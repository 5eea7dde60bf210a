"""The directory for threads: WSGI applications, Django, scripts."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from threading import Lock
from time import monotonic
from typing import TypeVar
from uuid import UUID

from controlplane.routing.connections import SyncPool
from controlplane.routing.known import Ages, KnownTenants
from controlplane.routing.registry import SyncRegistry
from controlplane.routing.tenant import RoutedTenant

_T = TypeVar("_T")
_Answer = Future[RoutedTenant | None]


class SyncTenantDirectory:
    """As TenantDirectory, for many threads at once."""

    def __init__(self, pool: SyncPool, *, ages: Ages | None = None, size: int = 20_000) -> None:
        self._registry = SyncRegistry(pool)
        self._known = KnownTenants(ages or Ages(), size=size)
        self._asked: dict[str, _Answer] = {}
        self._names: dict[UUID, str] = {}
        self._catching_up: Future[None] | None = None
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
        with self._lock:
            self._forget(subdomains)

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
            running = self._catching_up
            mine = running is None
            if running is None:
                running = self._catching_up = Future()
            elif self._known.believed(now):
                return
        if mine:
            _settle(running, self._ask_for_changes)
        running.result()

    def _ask_for_changes(self) -> None:
        try:
            asked_at = monotonic()
            changes = self._registry.changes(self._known.horizon)
            with self._lock:
                all_of_them = self._known.outdated(changes, asked_at)
                self._forget(None if all_of_them else changes.changed)
                self._known.in_contact(changes, asked_at)
        finally:
            with self._lock:
                self._catching_up = None

    def _ask(self, subdomain: str, asked: _Answer) -> None:
        _settle(asked, lambda: self._registry.lookup(subdomain))
        with self._lock:
            if self._asked.get(subdomain) is asked:
                del self._asked[subdomain]
                if asked.exception() is None:
                    self._known.learn(subdomain, asked.result(), monotonic())


def _settle(future: Future[_T], answer: Callable[[], _T]) -> None:
    """Give everybody who waits the answer, or the error."""
    try:
        future.set_result(answer())
    except BaseException as error:
        future.set_exception(error)
        if not isinstance(error, Exception):
            raise
