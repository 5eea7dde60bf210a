"""How many requests may be made in a while, and counting them. Pure.

A window is cut into slices, and a request counts until its slice has been left behind for a whole
window. So no stretch of a window's length ever sees more requests than the limit, and what was used
comes back at most one slice late: a steady caller gets SLICES / (SLICES + 1) of the limit or more.
PostgreSQL (`public.admit_request`) and Redis count in the same way.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import floor

SLICES = 60
# The one of now, and all that a whole window back may reach into.
_KEPT = SLICES + 1


@dataclass(frozen=True, slots=True)
class Quota:
    """At most `limit` requests, one or more, in any `window_s` seconds. `key` says whose."""

    key: str
    limit: int
    window_s: int = 60

    @property
    def counter(self) -> str:
        """Under which name it is counted: windows of two lengths have slices of two lengths."""
        return f"{self.key}/{self.window_s}"


@dataclass(frozen=True, slots=True)
class Standing:
    """How many more requests a quota allows now, and in how many seconds it will allow more."""

    remaining: int
    reset_s: float

    @property
    def refuses(self) -> bool:
        """Whether it lets nothing in."""
        return self.remaining == 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request was admitted, and by that counted in all of its quotas; if not, in none.

    `standings` are those of the quotas in their order, None where that was not looked at. Not
    `shared`: counted by this process alone.
    """

    admitted: bool
    standings: tuple[Standing | None, ...]
    shared: bool = True

    @property
    def retry_after_s(self) -> float:
        """Seconds before which the quotas that refused cannot all admit; 0 where none did."""
        refusing = (each for each in self.standings if each is not None and each.refuses)
        return max((each.reset_s for each in refusing), default=0.0)


@dataclass(frozen=True, slots=True)
class Count:
    """Requests by slice: `counts[0]` of the slice `newest`, `counts[1]` of the one before it, …"""

    newest: int = 0
    counts: tuple[int, ...] = (0,) * _KEPT

    def at(self, slice_number: int) -> "Count":
        """The same at another time. A clock that was set back a little stands still until it is
        where it was; from one that had been far ahead, nothing is taken over."""
        ahead = slice_number - self.newest
        if not -_KEPT <= ahead <= SLICES:
            return Count(slice_number)
        if ahead <= 0:
            return self
        return Count(slice_number, (0,) * ahead + self.counts[:-ahead])

    def with_one_more(self) -> "Count":
        return Count(self.newest, (self.counts[0] + 1, *self.counts[1:]))

    def expires_s(self, window_s: int) -> float:
        """When nothing of it counts any more."""
        return (self.newest + _KEPT) * window_s / SLICES


def slice_of(now_s: float, window_s: int) -> int:
    return floor(now_s * SLICES / window_s)


def standing(count: Count, quota: Quota, now_s: float) -> Standing:
    """Of a count at this time."""
    used = [place for place, number in enumerate(count.counts) if number]
    oldest = count.newest - max(used, default=0)
    reset_s = (oldest + _KEPT) * quota.window_s / SLICES - now_s
    return Standing(max(quota.limit - sum(count.counts), 0), reset_s)


def judge(
    quotas: Sequence[Quota], counts: Iterable[Count], now_s: float
) -> tuple[Verdict, list[Count]]:
    """The verdict on one request at this time, and the counts to keep."""
    now = [
        count.at(slice_of(now_s, quota.window_s))
        for quota, count in zip(quotas, counts, strict=True)
    ]
    before = [standing(count, quota, now_s) for quota, count in zip(quotas, now, strict=True)]
    if any(each.refuses for each in before):
        return Verdict(admitted=False, standings=tuple(before)), now
    after = tuple(Standing(each.remaining - 1, each.reset_s) for each in before)
    return Verdict(admitted=True, standings=after), [count.with_one_more() for count in now]
