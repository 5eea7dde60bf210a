"""How many there are of each: what an operator watches, counted and never by tenant."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.drift import Kind
from controlplane.domain.mail import DeliveryState
from controlplane.domain.operations import FINISHED, OperationState
from controlplane.domain.own_domains import PROBLEMS, DomainState
from controlplane.domain.tenants import TenantState
from controlplane.store import warm_schemas

_COUNTED = text("""
SELECT 'tenants' AS what, state AS which, count(*) AS number FROM public.tenants GROUP BY state
UNION ALL
SELECT 'operations', state, count(*) FROM public.operations
WHERE finished_at IS NULL GROUP BY state
UNION ALL
SELECT 'mails', state, count(*) FROM public.email_deliveries GROUP BY state
UNION ALL
SELECT 'findings', kind, count(*) FROM public.drift_findings GROUP BY kind
UNION ALL
SELECT 'domains', state, count(*) FROM public.tenant_domains GROUP BY state
UNION ALL
SELECT 'looks', CASE WHEN checked_at IS NULL THEN 'none' ELSE coalesce(last_error->>'code', 'ok') END,
  count(*)
FROM public.tenant_domains GROUP BY 2
""")
# As a worker would claim it; what is parked waits for somebody, not for a worker.
_TIMES = text("""
SELECT
  (SELECT extract(epoch FROM clock_timestamp() - min(run_at)) FROM public.operations
   WHERE state IN ('pending', 'running', 'unwinding') AND run_at <= clock_timestamp()
     AND (lease_expires_at IS NULL OR lease_expires_at < clock_timestamp())) AS due_s,
  (SELECT extract(epoch FROM looked_at) FROM public.drift_look) AS looked,
  (SELECT extract(epoch FROM looked_at) FROM public.structure_look) AS compared,
  (SELECT drifted FROM public.structure_look) AS drifted,
  (SELECT extract(epoch FROM clock_timestamp() - min(check_at)) FROM public.tenant_domains
   WHERE check_at <= clock_timestamp()) AS domain_due_s,
  (SELECT count(*) FROM public.tenant_domains
   WHERE state = 'verified' AND failing_since IS NOT NULL) AS failing
""")
_BEHIND = text("""
SELECT conditions @> '{"Frozen": {"holds": true}}' AS frozen, count(*) AS number FROM public.tenants
WHERE revision <> :newest AND state NOT IN ('purging', 'purged') GROUP BY 1
""")


@dataclass(frozen=True)
class Census:
    """Everything by state or kind, those that have none included; times in seconds.

    `operations` are those that have not ended. `oldest_due_s` is how long the one has waited that
    was due first and that no worker holds, 0 for none. `looked` is when a sweep looked last, since
    1970, 0 for never. `looks` are tenants' own domains by what was seen last: `ok`, `none` or the
    problem's code; `failing` those that are served while their proof is missing.
    `compared` is when a worker compared schemas with the template last, as `looked`, and found `drifted` tenants.
    """

    tenants: dict[str, int]
    operations: dict[str, int]
    mails: dict[str, int]
    findings: dict[str, int]
    domains: dict[str, int]
    looks: dict[str, int]
    oldest_due_s: float
    looked: float
    oldest_domain_due_s: float
    failing: int
    compared: float
    drifted: int
    behind: dict[str, int] | None = None
    warm: warm_schemas.Tally | None = None


async def take(
    conn: AsyncConnection, newest: str | None = None, recipe: str | None = None
) -> Census:
    """Count. Four statements at most, whatever there is. Who is `behind` is told by whether they are
    frozen, with the template's newest revision; the `warm` pool with the recipe of this release."""
    counted: dict[str, dict[str, int]] = {
        "tenants": dict.fromkeys(TenantState, 0),
        "operations": {state.value: 0 for state in OperationState if state not in FINISHED},
        "mails": dict.fromkeys(DeliveryState, 0),
        "findings": dict.fromkeys(Kind, 0),
        "domains": dict.fromkeys(DomainState, 0),
        "looks": dict.fromkeys(("none", "ok", *PROBLEMS), 0),
    }
    for row in await conn.execute(_COUNTED):
        counted[row.what][row.which] = row.number
    times = (await conn.execute(_TIMES)).one()
    return Census(
        **counted,
        oldest_due_s=float(times.due_s or 0),
        looked=float(times.looked or 0),
        oldest_domain_due_s=float(times.domain_due_s or 0),
        failing=times.failing,
        compared=float(times.compared or 0),
        drifted=times.drifted or 0,
        behind=None if newest is None else await _behind(conn, newest),
        warm=None if recipe is None else await warm_schemas.tally(conn, recipe),
    )


async def _behind(conn: AsyncConnection, newest: str) -> dict[str, int]:
    rows = await conn.execute(_BEHIND, {"newest": newest})
    return {"no": 0, "yes": 0} | {"yes" if row.frozen else "no": row.number for row in rows}
