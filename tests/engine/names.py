"""Whose a subdomain is: what must hold at any moment, and whether a stranger could claim one.

I13 a subdomain is free if and only if no tenant has it, nobody holds it, and no record of ours may
    be there. A tenant has one name; while it is renamed it holds another.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

from controlplane.domain.naming import Subdomain
from controlplane.errors import Conflict
from controlplane.store import holds
from tests.engine.lab import Lab

_RELEASED = {"failed", "purged"}
_RENAMES = """
SELECT o.tenant_id, o.params->>'subdomain' AS new, o.params->>'old' AS old,
  o.finished_at IS NULL AS live, s.state = 'done' AS switched
FROM public.operations o JOIN public.operation_steps s ON s.operation_id = o.id
WHERE o.kind = 'rename' AND s.name = 'switch'
"""
_HOLDS = """
SELECT *, until IS NULL OR until > clock_timestamp() AS lasting FROM public.subdomain_holds
"""


async def assert_names(lab: Lab) -> None:
    """I13, read at any moment."""
    async with lab.asking() as ask:
        tenants = await ask("SELECT * FROM public.tenants")
        renames, held = await ask(_RENAMES), await ask(_HOLDS)
    having = {t.subdomain: t.id for t in tenants if t.state not in _RELEASED}
    _assert_reserved(renames, held)
    for hold in held:
        mine = having.get(hold.subdomain)
        assert mine is None or not hold.lasting, f"I13 {hold.subdomain} is had and held"
    kept = {*having, *(hold.subdomain for hold in held)}
    left = {t.subdomain for t in tenants if t.state == "purged" and t.deleted_at}
    left |= {rename.old for rename in renames if rename.switched}
    assert left <= kept | await _ended(lab), f"I13 let go of, and not held: {left - kept}"
    names = kept | {t.subdomain for t in tenants} | {r.new for r in renames}
    await _assert_free(lab, names, {*having, *(h.subdomain for h in held if h.lasting)})


def _assert_reserved(renames: Iterable[Any], held: Iterable[Any]) -> None:
    ahead = {(r.tenant_id, r.new) for r in renames if r.live and not r.switched}
    reserved = {(h.tenant_id, h.subdomain) for h in held if h.why == "rename"}
    assert reserved == ahead, f"I13 reserved {reserved}, on their way {ahead}"


async def _ended(lab: Lab) -> set[str]:
    """What an operator has given free before its time."""
    rows = await lab.sql("SELECT target FROM public.audit_log WHERE action = 'subdomain.release'")
    return {row.target for row in rows}


async def _assert_free(lab: Lab, names: Iterable[str], kept: set[str]) -> None:
    recorded = await lab.sql("SELECT external_id FROM public.tenant_resources WHERE kind = 'dns'")
    kept = kept | {row.external_id for row in recorded}
    free = await _free(lab, names)
    # On a busy machine a hold may end while the world is looked at.
    ended = {hold.subdomain for hold in await lab.sql(_HOLDS) if not hold.lasting} & kept
    assert free - ended == set(names) - kept, f"I13 free {sorted(free)}, kept {sorted(kept)}"


async def is_free(lab: Lab, name: str, *, to: UUID | None = None) -> bool:
    """Whether a stranger, or this tenant, could claim the name now."""
    return bool(await _free(lab, [name], to=to))


async def _free(lab: Lab, names: Iterable[str], *, to: UUID | None = None) -> set[str]:
    """Claimed in one transaction, which is then undone; in order, for each claim keeps others out."""
    free = set()
    async with lab.parts.control.connect() as conn:
        for name in sorted(names):
            with suppress(Conflict):
                await holds.claim(conn, Subdomain(name), to or uuid4())
                free.add(name)
    return free


async def outlast_holds(lab: Lab) -> None:
    """As if the time of every hold were over."""
    await lab.sql(
        "UPDATE public.subdomain_holds SET until = clock_timestamp() WHERE until IS NOT NULL"
    )
