"""The warm pool: schemas made ahead, each under the id of the tenant that it will become. Pure.

A recipe is all that goes into the making of a schema; whoever hands one out asks for his own
recipe, so that what another template, release or app login made is never handed out.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

# What another release made is still handed out by that release, while both are at work.
OTHERS_STAY_S = 3600.0
# Not once a rollout brings the tenants to this template; a little, lest two workers of different
# releases remove each other's as fast as they make them.
OTHERS_STAY_AFTER_A_ROLLOUT_S = 60.0
# A worker that was told another size may be making just these.
SURPLUS_STAYS_S = 300.0


@dataclass(frozen=True)
class WarmSchema:
    """`going`: it is being removed, and will never be handed out."""

    tenant_id: UUID
    recipe: str
    going: bool
    age_s: float


@dataclass(frozen=True)
class Make:
    """One is missing."""


@dataclass(frozen=True)
class Discard:
    """Remove one of these; the order says nothing."""

    those: tuple[UUID, ...]


@dataclass(frozen=True)
class Rest:
    """All is as it should be."""


Move = Make | Discard | Rest


def recipe(*, release: str, digest: str, app_login: str) -> str:
    """Equal where a schema would be made alike; `digest` is the template's."""
    return hashlib.sha256(f"{release}\n{digest}\n{app_login}".encode()).hexdigest()


def next_move(pool: Collection[WarmSchema], *, recipe: str, size: int, rolled_out: bool) -> Move:
    """What a worker with this recipe does now; `rolled_out`: its template, to all tenants."""
    ready = [each for each in pool if each.recipe == recipe and not each.going]
    if len(ready) < size:
        return Make()
    stay_s = OTHERS_STAY_AFTER_A_ROLLOUT_S if rolled_out else OTHERS_STAY_S
    old = [e for e in pool if e.going or (e.recipe != recipe and e.age_s >= stay_s)]
    ready.sort(key=lambda each: each.age_s)
    surplus = [each for each in ready[size:] if each.age_s >= SURPLUS_STAYS_S]
    discarded = tuple(each.tenant_id for each in [*old, *surplus])
    return Discard(discarded) if discarded else Rest()
