"""Counts of this process alone: the adapter of tests, and what is left where nothing shared
answers."""

from collections.abc import Callable, Sequence
from time import monotonic

from controlplane.domain.ratelimit import Count, Quota, Verdict, judge

# So many counters may be kept before those are looked for that nobody needs any more.
_CROWDED = 1_000


class LocalRateLimits:
    """Counts in memory by a clock of its own, in seconds."""

    def __init__(self, *, clock: Callable[[], float] = monotonic, crowded: int = _CROWDED) -> None:
        self._clock = clock
        self._counts: dict[str, Count] = {}
        self._expires: dict[str, float] = {}
        self._least = self._crowded = crowded

    def __len__(self) -> int:
        """How many counters are kept."""
        return len(self._counts)

    async def hit(self, quotas: Sequence[Quota]) -> Verdict:
        return self.hit_now(quotas)

    def hit_now(self, quotas: Sequence[Quota]) -> Verdict:
        """The same without awaiting."""
        now_s = self._clock()
        counts = [self._counts.get(quota.counter, Count()) for quota in quotas]
        verdict, kept = judge(quotas, counts, now_s)
        if verdict.admitted:
            for quota, count in zip(quotas, kept, strict=True):
                self._counts[quota.counter] = count
                self._expires[quota.counter] = count.expires_s(quota.window_s)
            self._forget(now_s)
        return verdict

    def _forget(self, now_s: float) -> None:
        """Twice what is in use at most, at the price of one look per doubling."""
        if len(self._counts) < self._crowded:
            return
        for counter in [name for name, until in self._expires.items() if until <= now_s]:
            del self._counts[counter], self._expires[counter]
        self._crowded = max(self._least, 2 * len(self._counts))
