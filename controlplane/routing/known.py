"""What a process knows of the tenants, and for how long it may believe it. Pure.

An answer is kept until its tenant changes. What has changed is asked of the registry by one query
for all of them, so a process is never further behind than that query's interval, whether or not
anybody has told it.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from controlplane.domain.tenants import TenantState
from controlplane.routing.tenant import RoutedTenant


@dataclass(frozen=True)
class Ages:
    """Seconds. Answers are believed for `fresh_s` after the registry was last asked for changes,
    and for as long again while it is being asked. `ttl_s` and `negative_ttl_s` bound an answer's
    life in any case, less up to a tenth; after `forget_s` without contact nothing is kept."""

    fresh_s: float = 1.5
    ttl_s: float = 3600.0
    negative_ttl_s: float = 30.0
    forget_s: float = 600.0


@dataclass(frozen=True)
class Changes:
    """What the registry tells of its changes: each subdomain with the last transaction that changed
    its tenant, and the horizon to ask from the next time. `server` is whose numbers these are,
    `at` the time there, in seconds."""

    changed: Mapping[str, int]
    horizon: int
    server: str = ""
    at: float = 0.0

    def since(self, horizon: int) -> frozenset[str]:
        """The subdomains that changed at or above the horizon."""
        return frozenset(name for name, last in self.changed.items() if last >= horizon)


@dataclass(frozen=True, slots=True)
class Known:
    """An answer; None stands for a subdomain that nobody holds."""

    tenant: RoutedTenant | None
    until: float


class KnownTenants:
    """The answers of one process; at most `size` of tenants, and as many of free subdomains.

    `now` is always a monotonic clock's seconds.
    """

    def __init__(self, ages: Ages, *, size: int) -> None:
        self._ages = ages
        self._size = size
        # Apart, so that whoever asks for names that nobody holds crowds out no tenant.
        self._held: dict[str, Known] = {}
        self._free: dict[str, Known] = {}
        self.latest: Changes | None = None
        # Before the first contact nothing is believed.
        self._contact = float("-inf")

    @property
    def horizon(self) -> int | None:
        """Where to ask from; None before the first contact."""
        return None if self.latest is None else self.latest.horizon

    def due(self, now: float) -> bool:
        """Whether the registry is to be asked for changes."""
        return now - self._contact >= self._ages.fresh_s

    def believed(self, now: float) -> bool:
        """Whether answers may be given while the registry is being asked."""
        return now - self._contact < 2 * self._ages.fresh_s

    def get(self, subdomain: str, now: float) -> Known | None:
        """The answer, if there is one that has not run out."""
        known = self._held.get(subdomain) or self._free.get(subdomain)
        return known if known is not None and now < known.until else None

    def learn(self, subdomain: str, tenant: RoutedTenant | None, now: float) -> None:
        """Keep an answer to a question that was asked since the last change of that subdomain.

        That a tenant is being set up is not kept: whoever waits for it is to see it at once.
        """
        if tenant is not None and tenant.state is TenantState.PROVISIONING:
            return self.forget(subdomain)
        ttl = self._ages.negative_ttl_s if tenant is None else self._ages.ttl_s
        # Jitter, lest all that was asked at a start is asked again at once.
        known = Known(tenant, now + ttl * random.uniform(0.9, 1.0))  # noqa: S311  no secret
        self.forget(subdomain)
        kept = self._free if tenant is None else self._held
        if len(kept) >= self._size:
            del kept[next(iter(kept))]
        kept[subdomain] = known
        return None

    def forget(self, subdomain: str) -> None:
        self._held.pop(subdomain, None)
        self._free.pop(subdomain, None)

    def clear(self) -> None:
        self._held.clear()
        self._free.clear()

    def outdated(self, changes: Changes, now: float) -> bool:
        """Whether the changes do not tell all that happened since the last contact."""
        before = self.latest
        # Numbers that went back are another server's, or of one that was restored.
        elsewhere = before is not None and (
            changes.horizon < before.horizon or changes.server != before.server
        )
        return elsewhere or now - self._contact > self._ages.forget_s

    def in_contact(self, changes: Changes, now: float) -> None:
        """Believe what is held, now that what has changed is forgotten; `now` is when the
        registry was asked."""
        self.latest = changes
        self._contact = now
