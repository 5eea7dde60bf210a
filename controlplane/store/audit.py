"""Who did what to which tenant. Append-only: the API's login may not change a row."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.operations import Operation, OperationState
from controlplane.store.tables import audit_log


@dataclass(frozen=True)
class Actor:
    """Who asks, and from where."""

    id: UUID | None
    kind: str
    request_id: str | None = None
    ip: str | None = None
    agent: str | None = None


async def write(
    conn: AsyncConnection,
    actor: Actor,
    action: str,
    *,
    tenant_id: UUID | None = None,
    target: str | None = None,
    outcome: str = "ok",
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Append one row. Neither `before` nor `after` may hold a secret."""
    await conn.execute(
        insert(audit_log).values(
            actor=actor.id,
            actor_kind=actor.kind,
            action=action,
            tenant_id=tenant_id,
            target=target,
            outcome=outcome,
            before=before,
            after=after,
            request_id=actor.request_id,
            ip=actor.ip,
            agent=actor.agent,
        )
    )


async def operation_ended(conn: AsyncConnection, operation: Operation) -> None:
    """The row that every operation leaves when it ends."""
    await write(
        conn,
        Actor(None, "operation"),
        f"tenant.{operation.plan.kind}",
        tenant_id=operation.tenant_id,
        target=str(operation.id),
        outcome="ok" if operation.state is OperationState.SUCCEEDED else "failed",
        after={"state": operation.state, "error": operation.error},
    )
