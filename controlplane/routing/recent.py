"""Whether an answer that another process wrote down still stands. Pure.

When it was written decides nothing, nor in which order: it names the horizon that its writer had
been told of, and this process knows from the registry itself what has changed at or above it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from controlplane.routing.known import Changes, KnownTenants
from controlplane.routing.shared import SharedAnswer


class RecentChanges:
    """The changes that the registry has told this process of.

    More than about `limit` of them are not remembered where that can be helped. `now` and
    `asked_at` are a monotonic clock's seconds.
    """

    def __init__(self, *, limit: int = 20_000) -> None:
        self._limit = limit
        self._latest: Changes | None = None
        # Told of every change at or above it.
        self._since: int | None = None
        self._changed: dict[str, int] = {}
        # Said to have changed by somebody, in a transaction that nobody named.
        self._doubted: dict[str, float] = {}
        self._all_doubted = float("-inf")

    def note(self, changes: Changes, *, since: int | None, asked_at: float) -> frozenset[str]:
        """The registry's answer to a question from `since`; None where it does not tell all that
        has changed since the last one. Returns the subdomains whose change is news."""
        if since is None:
            self._since, self._changed = None, {}
        elif self._since is None or since < self._since:
            self._since = since
        news = {n: at for n, at in changes.changed.items() if at > self._changed.get(n, -1)}
        self._changed.update(news)
        self._latest = changes
        self._doubted = {name: told for name, told in self._doubted.items() if told >= asked_at}
        if self._all_doubted < asked_at:
            self._all_doubted = float("-inf")
        if self._since is not None and len(self._changed) > self._limit:
            self._since = changes.horizon
            self._changed = {n: at for n, at in self._changed.items() if at >= changes.horizon}
        return frozenset(news)

    def doubt(self, subdomains: Iterable[str] | None, now: float) -> None:
        """Trust nothing written about these (None: about anybody) until the registry was asked
        for changes once more."""
        if subdomains is not None:
            self._doubted.update((name, now) for name in subdomains)
        if subdomains is None or len(self._doubted) > self._limit:
            self._all_doubted = now
            self._doubted.clear()

    def can_judge(self, answer: SharedAnswer) -> bool:
        """Whether all that could speak against it is known; else ask for changes from its
        horizon."""
        return self._since is not None and self._since <= answer.horizon

    def comparable(self, answer: SharedAnswer, *, ttl_s: float) -> bool:
        """Whether it is of our past, and not older than `ttl_s`: the registry forgets its changes
        after an hour."""
        latest = self._latest
        return (
            latest is not None
            and answer.horizon <= latest.horizon
            and 0 <= latest.at - answer.at <= ttl_s
        )

    def vouches(self, answer: SharedAnswer) -> bool:
        """Whether nothing that is known speaks against it."""
        name, latest = answer.subdomain, self._latest
        return (
            latest is not None
            and answer.server == latest.server
            and self._all_doubted == float("-inf")
            and name not in self._doubted
            and self._changed.get(name, -1) < answer.horizon
        )


@dataclass(frozen=True)
class Contact:
    """What a directory does with an answer: whom to `forget` (None: everybody), and of whom to tell
    others."""

    forget: frozenset[str] | None
    news: frozenset[str]


def in_contact(
    known: KnownTenants,
    recent: RecentChanges,
    changes: Changes,
    *,
    since: int | None,
    asked_at: float,
) -> Contact:
    """Take down what the registry answered to a question from `since`. Whoever calls it forgets
    before anybody is answered again."""
    before = known.horizon
    # One that took another server's place may count below what an answer of that other one named.
    if since is None or before is None or since > before or known.outdated(changes, asked_at):
        recent.note(changes, since=None, asked_at=asked_at)
        contact = Contact(None, frozenset())
    else:
        latest = changes.since(before)
        news = recent.note(changes, since=since, asked_at=asked_at)
        contact = Contact(latest, latest & news)
    known.in_contact(changes, asked_at)
    return contact
