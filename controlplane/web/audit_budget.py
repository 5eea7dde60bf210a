"""How many rows somebody may cause in a tenant's log: whoever is refused must not fill it. Pure."""

from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID


@dataclass
class _Window:
    ends: float
    rows: int = 0
    # By action, of what was not written.
    rest: Counter[str] = field(default_factory=Counter)


class AuditBudget:
    """At most `rows` in `window_s` seconds for each tenant, beginning with the first; the rest is
    counted and told when the window ends. `now` is always a monotonic clock's seconds."""

    def __init__(self, *, rows: int = 10, window_s: float = 60.0) -> None:
        self._rows = rows
        self.window_s = window_s
        self._windows: dict[UUID, _Window] = {}

    def has_room(self, tenant_id: UUID, now: float) -> bool:
        """Whether `take` would let a row be written."""
        window = self._windows.get(tenant_id)
        if window is None or (window.ends <= now and not window.rest):
            return True
        return window.rows < self._rows

    def take(self, tenant_id: UUID, action: str, now: float) -> bool:
        """Whether a row may be written now; if not, it is counted."""
        window = self._windows.get(tenant_id)
        if window is None or (window.ends <= now and not window.rest):
            window = self._windows[tenant_id] = _Window(now + self.window_s)
        if window.rows < self._rows:
            window.rows += 1
            return True
        window.rest[action] += 1
        return False

    def ended(self, now: float) -> list[tuple[UUID, dict[str, int]]]:
        """The windows that have ended: what was not written in each, by action. They are
        forgotten, also those with nothing to tell."""
        over = [tenant_id for tenant_id, window in self._windows.items() if window.ends <= now]
        gone = [(tenant_id, dict(self._windows.pop(tenant_id).rest)) for tenant_id in over]
        return [(tenant_id, rest) for tenant_id, rest in gone if rest]

    def next_end(self) -> float | None:
        """When there will be something to tell; None where there is nothing."""
        return min((window.ends for window in self._windows.values() if window.rest), default=None)
