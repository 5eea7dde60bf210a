"""The queue before a provider that takes only so many requests a second. Pure.

Who cannot go at once gets a place behind all who wait, and is told when his turn will be if all before
him use theirs. He goes away and comes back then. Only coming late costs him anything, and not his
place: he still goes before whoever came after him. Who never comes holds nobody up.
"""

from dataclasses import dataclass, replace

# So late, somebody is still expected: whoever comes meanwhile is not let through in his stead.
_LATE_US = 2_000_000
# So soon is no reason to send somebody away: he is told to wait where he stands.
_SOON_US = 250_000
# Turns are this much further apart than they must be: one who is late does not delay all the others.
_LEEWAY = 1.05
# So long a place is kept for somebody who does not come.
_KEPT_US = 600_000_000
# Nobody is told to come later than that; a clock has been set.
_FAR_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Pace:
    """At most `limit` requests in any `window_us` microseconds."""

    limit: int
    window_us: int

    @property
    def each_us(self) -> int:
        return round(_LEEWAY * self.window_us / self.limit)


@dataclass(frozen=True, slots=True)
class Place:
    """Who waits, for how many requests, and when he was told to come, in microseconds."""

    holder: int
    requests: int
    due_us: int


@dataclass(frozen=True, slots=True)
class Turn:
    """Whether it is one's turn, in so many microseconds; if not, to come again after them."""

    has_come: bool
    in_us: int


@dataclass(frozen=True, slots=True)
class Queue:
    """`went`: when the latest requests were let through; `waiting`: the places in their order."""

    went: tuple[int, ...] = ()
    waiting: tuple[Place, ...] = ()

    def take(self, holder: int, *, requests: int, now_us: int, pace: Pace) -> tuple["Queue", Turn]:
        """What somebody is told who wants to make so many requests, up to the pace's limit."""
        queue = self.at(now_us, pace)
        ahead = queue.ahead_of(holder)
        places = queue.waiting[len(ahead) : len(ahead) + 1]
        # Whoever comes in time need not wait for those ahead who are a little late.
        in_time = any(place.due_us <= now_us + _SOON_US for place in places)
        free_us = queue.free_us(requests, now_us, pace)
        expected = sum(one.requests for one in ahead if now_us - one.due_us < _LATE_US)
        if free_us <= _SOON_US and expected < (pace.limit if in_time else 1):
            went = sorted([*queue.went, *[now_us + free_us] * requests])
            return replace(queue.without(holder), went=tuple(went)), Turn(
                has_come=True, in_us=free_us
            )
        wait_us = max(free_us + pace.each_us * sum(one.requests for one in ahead), 1_000)
        told = Place(holder, requests, now_us + wait_us)
        behind = queue.waiting[len(ahead) + 1 :]
        return replace(queue, waiting=(*ahead, told, *behind)), Turn(has_come=False, in_us=wait_us)

    def put_first(self, holder: int, *, requests: int, now_us: int) -> "Queue":
        """After a turn that was in vain."""
        first = Place(holder, requests, now_us)
        return replace(self, waiting=(first, *self.without(holder).waiting))

    def at(self, now_us: int, pace: Pace) -> "Queue":
        """What of it still matters."""
        went = tuple(at for at in self.went if abs(now_us - at) < pace.window_us)
        kept = range(now_us - _KEPT_US, now_us + _FAR_US)
        waiting = tuple(one for one in self.waiting if one.due_us in kept)
        return Queue(went, waiting)

    def ahead_of(self, holder: int) -> tuple[Place, ...]:
        """All before him; all that wait, if he has no place."""
        holders = [one.holder for one in self.waiting]
        return self.waiting[: holders.index(holder)] if holder in holders else self.waiting

    def without(self, holder: int) -> "Queue":
        waiting = tuple(one for one in self.waiting if one.holder != holder)
        return replace(self, waiting=waiting)

    def free_us(self, requests: int, now_us: int, pace: Pace) -> int:
        """Until the window has room for so many more."""
        over = len(self.went) + requests - pace.limit
        return max(self.went[over - 1] + pace.window_us - now_us, 0) if over > 0 else 0
