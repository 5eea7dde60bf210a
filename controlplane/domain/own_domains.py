"""A tenant's own domains, their states and what follows from a look at the DNS. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from controlplane.domain.dns_look import Pointing, Proof, Seen

# A pending one is looked at ever more seldom, and after a week no more.
FIRST_WAIT = timedelta(seconds=15)
LONGEST_WAIT = timedelta(hours=1)
GIVE_UP_AFTER = timedelta(days=7)
# A proof that has been gone for so long is gone.
PATIENCE = timedelta(hours=72)
_SOUND_WAIT = timedelta(hours=6)
_FAILING_WAIT = timedelta(hours=1)
_LOST_WAIT = timedelta(days=1)
# Nobody could tell: neither soon again nor late.
_UNKNOWN_WAIT = timedelta(minutes=10)
_GIVEN_UP = "Workers look no more by themselves; ask for a check once this is mended."

_TAKEN = "domain_taken"
# What may be in a domain's way, by its code.
PROBLEMS = (
    *(Proof.MISSING, Proof.WRONG, Proof.UNKNOWN),
    *(Pointing.NOWHERE, Pointing.ASIDE, Pointing.ELSEWHERE),
    _TAKEN,
)


class DomainState(StrEnum):
    """Whether a host leads to its tenant."""

    # Claimed; whoever holds the domain has not said yes by its DNS.
    PENDING = "pending"
    # Served, and worth a certificate.
    VERIFIED = "verified"
    # It was verified, and its proof has been gone for too long: not served.
    LOST = "lost"


@dataclass(frozen=True)
class Standing:
    """How a domain stands. `failing_since` is when a proof that was there was first missed."""

    state: DomainState
    created_at: datetime
    verified_at: datetime | None
    failing_since: datetime | None
    points_here: bool | None


@dataclass(frozen=True)
class Verdict:
    """How it stands from now on. `check_after` is None once nobody looks again by himself."""

    state: DomainState
    verified_at: datetime | None
    failing_since: datetime | None
    points_here: bool | None
    problem: dict[str, Any] | None
    check_after: timedelta | None


def follows(before: Standing, seen: Seen, *, now: datetime) -> Verdict:
    """What follows from what was seen `now`."""
    state, since = _state(before, seen, now)
    verified_at = before.verified_at
    if state is DomainState.VERIFIED and before.state is not state:
        verified_at = now
    points_here = _points_here(before, seen)
    check_after = _check_after(state, since, seen, now - (verified_at or before.created_at))
    return Verdict(
        state, verified_at, since, points_here, _problem(seen.problem, check_after), check_after
    )


def taken(before: Standing, verdict: Verdict, *, now: datetime) -> Verdict:
    """What follows instead where another tenant's proof was seen first."""
    if before.state is DomainState.LOST:
        after: timedelta | None = _LOST_WAIT
    else:
        after = _pending_wait(now - before.created_at)
    problem = {"code": _TAKEN, "detail": "Another tenant has proven this domain first."}
    since = before.failing_since
    return Verdict(
        before.state,
        before.verified_at,
        since,
        verdict.points_here,
        _problem(problem, after),
        after,
    )


def _state(before: Standing, seen: Seen, now: datetime) -> tuple[DomainState, datetime | None]:
    """The state, and since when its proof has been missed."""
    if seen.proof is Proof.UNKNOWN:
        return before.state, before.failing_since
    if before.state is DomainState.VERIFIED:
        return _kept(before, seen, now)
    if seen.proof is Proof.THERE and seen.pointing is not Pointing.ELSEWHERE:
        return DomainState.VERIFIED, None
    return before.state, before.failing_since


def _kept(before: Standing, seen: Seen, now: datetime) -> tuple[DomainState, datetime | None]:
    if seen.proof is Proof.THERE:
        return DomainState.VERIFIED, None
    since = before.failing_since or now
    is_lost = now - since >= PATIENCE
    return DomainState.LOST if is_lost else DomainState.VERIFIED, since


def _points_here(before: Standing, seen: Seen) -> bool | None:
    if seen.pointing is Pointing.UNKNOWN:
        return before.points_here
    return seen.pointing is Pointing.HERE


def _check_after(
    state: DomainState, since: datetime | None, seen: Seen, age: timedelta
) -> timedelta | None:
    """`age` is since it was verified, or claimed."""
    if state is DomainState.PENDING:
        return _pending_wait(age)
    if state is DomainState.LOST:
        return _LOST_WAIT
    if seen.proof is Proof.UNKNOWN:
        return _UNKNOWN_WAIT
    if since is not None:
        return _FAILING_WAIT
    if seen.pointing is Pointing.HERE:
        return _SOUND_WAIT
    return _growing(age)


def _pending_wait(age: timedelta) -> timedelta | None:
    return None if age >= GIVE_UP_AFTER else _growing(age)


def _growing(age: timedelta) -> timedelta:
    """As long as it has lasted already: so the time between looks doubles."""
    return min(max(age, FIRST_WAIT), LONGEST_WAIT)


def _problem(
    problem: dict[str, Any] | None, check_after: timedelta | None
) -> dict[str, Any] | None:
    if problem is None or check_after is not None:
        return problem
    return {**problem, "detail": f"{problem['detail']} {_GIVEN_UP}"}
