"""Operations entered straight into the tables in any state, and what has become of them."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from controlplane.domain.operations import Action, Operation, Plan, PlanStep, Reach
from controlplane.provisioning import journal
from controlplane.provisioning.plans import plan_to_json

PLAN = Plan(
    "example",
    1,
    (
        PlanStep("first", Action.ENSURE, Reach.LOCAL),
        PlanStep("second", Action.ABSENT, Reach.REMOTE),
        PlanStep("pivot", Action.ENSURE, Reach.LOCAL, pivot=True),
    ),
    rolled_back=None,
)
HOUR_S = 3600.0


async def sql(on: AsyncEngine | AsyncConnection, statement: str, **values: Any) -> list[Any]:
    """Commits if it is given an engine."""
    if isinstance(on, AsyncEngine):
        async with on.begin() as conn:
            return await sql(conn, statement, **values)
    result = await on.execute(text(statement), values)
    return list(result.mappings()) if result.returns_rows else []


async def opened(conn: AsyncConnection, owner: AsyncEngine) -> datetime:
    """Begins the connection's transaction; a moment after what its now() says from then on."""
    await sql(conn, "SELECT now()")
    (clock,) = await sql(owner, "SELECT clock_timestamp() AS at")
    at: datetime = clock["at"]
    return at


async def enter(owner: AsyncEngine, *, plan: Plan = PLAN, **columns: Any) -> UUID:
    """An operation of a tenant of its own, due at once; `columns` are SQL expressions.

    Its steps are entered last one first, lest their order be right by chance.
    """
    tenant, operation = uuid4(), uuid4()
    given = {
        "deadline_at": "clock_timestamp() + interval '1 day'",
        "run_at": "clock_timestamp() - interval '1 minute'",
        "params": """'{"from_state": "active"}'""",
        **columns,
    }
    async with owner.begin() as conn:
        await sql(
            conn,
            "INSERT INTO public.tenants (id, name, subdomain, state, tier, admin_email)"
            " VALUES (:id, 'Acme', :name, 'active', 'starter', 'ada@acme.test')",
            id=tenant,
            name=f"t-{tenant.hex}",
        )
        await sql(
            conn,
            f"INSERT INTO public.operations"  # noqa: S608  literals of this file and its tests
            f" (id, tenant_id, kind, plan, plan_version, {', '.join(given)})"
            f" VALUES (:id, :tenant, :kind, :plan, :version, {', '.join(given.values())})",
            id=operation,
            tenant=tenant,
            kind=plan.kind,
            plan=json.dumps(plan_to_json(plan)),
            version=plan.version,
        )
        for ordinal, step in reversed(list(enumerate(plan.steps))):
            await sql(
                conn,
                "INSERT INTO public.operation_steps (operation_id, ordinal, name)"
                " VALUES (:id, :ordinal, :name)",
                id=operation,
                ordinal=ordinal,
                name=step.name,
            )
    return operation


async def claimed(
    on: AsyncEngine | AsyncConnection, *, limit: int = 9, plans: tuple[str, ...] = ("example/1",)
) -> list[Operation]:
    """What one claim takes."""
    if isinstance(on, AsyncEngine):
        async with on.begin() as conn:
            return await claimed(conn, limit=limit, plans=plans)
    return await journal.claim(on, owner="me", ttl_s=HOUR_S, plans=list(plans), limit=limit)


@dataclass(frozen=True)
class Rows:
    """All that is in the tables of one operation."""

    operation: dict[str, Any]
    steps: list[dict[str, Any]]
    events: list[dict[str, Any]]

    def shows(self, **columns: Any) -> bool:
        """Whether the operation's row has these values."""
        found = {name: self.operation[name] for name in columns}
        assert found == columns
        return True


async def rows(on: AsyncEngine | AsyncConnection, operation: UUID) -> Rows:
    (row,) = await sql(on, "SELECT * FROM public.operations WHERE id = :id", id=operation)
    steps = await sql(
        on,
        "SELECT * FROM public.operation_steps WHERE operation_id = :id ORDER BY ordinal",
        id=operation,
    )
    events = await sql(
        on,
        "SELECT * FROM public.operation_events WHERE operation_id = :id ORDER BY seq",
        id=operation,
    )
    return Rows(dict(row), [dict(s) for s in steps], [dict(e) for e in events])


async def loaded_dice(conn: AsyncConnection) -> float:
    """Seeds random() of the session; returns what it will say next, which is nearly one."""
    for seed in range(1000):
        await sql(conn, "SELECT setseed(:seed)", seed=seed / 1000)
        (drawn,) = await sql(conn, "SELECT random() AS next")
        if drawn["next"] > 0.9:
            await sql(conn, "SELECT setseed(:seed)", seed=seed / 1000)
            return float(drawn["next"])
    raise AssertionError("no seed gives a number near one")
