"""What may be asked of rollouts. Each function takes a connection, in whose transaction the request
is accepted whole or not at all, and never commits."""

from collections import Counter
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, and_, false, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.rings import Member, assign, tags_of
from controlplane.domain.rollouts import Ask, Policy, RolloutState, answer
from controlplane.domain.tenants import TenantState, Tier, frozen
from controlplane.errors import InvalidState
from controlplane.fleet import journal
from controlplane.store import audit, rollout_progress, rollouts
from controlplane.store.audit import Actor
from controlplane.store.rollouts import Request, Rollout
from controlplane.store.tenant_tables import tenants

_PURGED = (TenantState.PURGING, TenantState.PURGED)


@dataclass(frozen=True)
class Fleet:
    """The tenants with a schema: those `behind` a revision by ring, with the revision that the
    catalog says of each, and how many are there already. Those of them that are `frozen` are skipped.
    `older` lie before a revision that others go back to."""

    behind: dict[UUID, tuple[int, str | None]]
    at_revision: int
    older: int
    frozen: frozenset[UUID] = frozenset()

    def starts(self) -> Counter[str]:
        """How many are to leave each revision: a way for who is frozen there need not be."""
        leaving = self.behind.keys() - self.frozen
        return Counter(self.behind[tenant_id][1] or "" for tenant_id in leaving)

    def sizes(self, policy: Policy) -> list[int]:
        """How many are in each ring."""
        rings = [ring for ring, _ in self.behind.values()]
        return [rings.count(number) for number in range(len(policy.rings))]


async def fleet(
    conn: AsyncConnection,
    *,
    revision: str,
    policy: Policy,
    starts: frozenset[str] | None = None,
) -> Fleet:
    """Who would be brought to a revision now: every schema, in whatever state its tenant is; with
    `starts` those alone that are at one of these."""
    c = tenants.c
    whole = and_(c.revision.is_not(None), c.state.not_in(_PURGED))
    elsewhere = apart = c.revision != revision
    older: ColumnElement[bool] = false()
    if starts is not None:
        apart = and_(elsewhere, c.revision.in_(starts))
        older = and_(elsewhere, c.revision.not_in(starts))
    # Whoever is there already is only counted: a large fleet would take a while to be read.
    query = select(c.id, c.subdomain, c.tier, c.revision, c.metadata, c.conditions)
    behind = {row.id: row for row in await conn.execute(query.where(whole, apart))}
    count = select(func.count()).select_from(tenants)
    members = [
        Member(row.id, row.subdomain, Tier(row.tier), tags_of(row.metadata))
        for row in behind.values()
    ]
    rings = assign(policy.rings, members)
    return Fleet(
        {key: (ring, behind[key].revision) for key, ring in rings.items()},
        at_revision=(await conn.execute(count.where(whole, c.revision == revision))).scalar_one(),
        older=(await conn.execute(count.where(whole, older))).scalar_one(),
        frozen=frozenset(key for key, row in behind.items() if frozen(row.conditions)),
    )


async def revisions(conn: AsyncConnection) -> list[str]:
    """Those that schemas are at."""
    c = tenants.c
    query = select(c.revision).distinct()
    query = query.where(c.revision.is_not(None), c.state.not_in(_PURGED))
    return list((await conn.execute(query)).scalars())


async def start(
    conn: AsyncConnection,
    *,
    revision: str,
    digest: str,
    policy: Policy,
    actor: Actor,
    starts: frozenset[str] | None = None,
    request: Request | None = None,
) -> Rollout:
    """Begin a rollout; where nobody is behind it ends at once. Raises RolloutInProgress."""
    found = await fleet(conn, revision=revision, policy=policy, starts=starts)
    rollout_id = uuid4()
    await rollouts.add(
        conn,
        rollout_id=rollout_id,
        revision=revision,
        digest=digest,
        policy=policy,
        targets=found.behind,
        requested_by=actor.id,
        request=request,
    )
    told: dict[str, Any] = {"revision": revision, "targets": len(found.behind), "back": policy.back}
    await audit.write(conn, actor, "rollout.start", target=str(rollout_id), after=told)
    await journal.advance(conn, rollout_id)
    return await rollouts.get(conn, rollout_id)


async def ask(conn: AsyncConnection, rollout_id: UUID, what: Ask, *, actor: Actor) -> Rollout:
    """Pause, resume, retry or cancel. Asking for what is so already changes nothing.

    Raises RolloutNotFound, InvalidState, and RolloutInProgress where another has begun since.
    """
    rollout = await rollouts.get(conn, rollout_id, lock=True)
    if rollout.state is _REACHED.get(what):
        return rollout
    follows = answer(what, rollout.state)
    if follows is None:
        raise InvalidState(f"The rollout is {rollout.state}; it cannot be asked to {what}.")
    if rollout.finished_at is not None and await rollouts.overtaken(conn, rollout):
        raise InvalidState("Another rollout has come after it and ended: start a new one.")
    told: dict[str, Any] = {"state": follows}
    if what is Ask.RETRY:
        told["targets"] = await rollouts.try_again(conn, rollout_id)
    await rollouts.set_state(conn, rollout_id, follows, excused=await _excused(conn, rollout, what))
    before = {"state": rollout.state}
    await audit.write(
        conn, actor, f"rollout.{what}", target=str(rollout_id), before=before, after=told
    )
    return await rollouts.get(conn, rollout_id)


_REACHED = {
    Ask.PAUSE: RolloutState.PAUSED,
    Ask.RESUME: RolloutState.RUNNING,
    Ask.CANCEL: RolloutState.CANCELLED,
}


async def _excused(conn: AsyncConnection, rollout: Rollout, what: Ask) -> int:
    """Whoever resumes a halted rollout has seen what failed; whoever retries has excused nothing."""
    if what is Ask.RETRY:
        return 0
    if what is Ask.RESUME and rollout.state is RolloutState.HALTED:
        found = await rollout_progress.of(conn, rollout)
        return found.rings[rollout.ring].failed
    return rollout.excused
