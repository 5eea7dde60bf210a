"""What visitors of tenants' hosts were refused because it must never happen, in the audit log."""

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import func, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.store.tables import audit_log, system_config
from controlplane.store.tenant_tables import tenants

_HASH_KEY = "audit_hash_key"


@dataclass(frozen=True)
class Refusal:
    """One row. Of `other`, the tenant at the other side, it keeps a hash: what is in a tenant's log
    names no other tenant."""

    tenant_id: UUID
    action: str
    told: dict[str, Any]
    other: UUID | None = None
    # Whose token did it, where that is not the tenant's own.
    cause: UUID | None = None
    request_id: str | None = None
    ip: str | None = None
    agent: str | None = None
    # So that a row whose commit nobody saw is not written twice.
    id: UUID = field(default_factory=uuid4)


async def append(conn: AsyncConnection, refusals: Sequence[tuple[Refusal, float]]) -> int:
    """Append a row for each, once; the number is how many seconds ago it was. Returns of how many
    the tenant is known; the others are left out."""
    ids = {refusal.tenant_id for refusal, _ in refusals}
    found = await conn.execute(select(tenants.c.id).where(tenants.c.id.in_(ids)))
    known = set(found.scalars())
    key = await _hash_key(conn) if any(refusal.other for refusal, _ in refusals) else b""
    rows = [_row(refusal, ago_s, key) for refusal, ago_s in refusals if refusal.tenant_id in known]
    if rows:
        await conn.execute(insert(audit_log).values(rows).on_conflict_do_nothing())
    return len(rows)


def _row(refusal: Refusal, ago_s: float, key: bytes) -> dict[str, Any]:
    told = dict(refusal.told)
    if refusal.other is not None:
        told["other_tenant"] = _hash(key, refusal.tenant_id, refusal.other)
    return {
        "id": refusal.id,
        # By the database's clock, as every other row.
        "at": func.clock_timestamp() - literal(timedelta(seconds=ago_s)),
        "actor_kind": "visitor",
        "action": refusal.action,
        "tenant_id": refusal.tenant_id,
        "outcome": "refused",
        "after": told,
        "request_id": refusal.request_id,
        "ip": refusal.ip,
        "agent": refusal.agent,
    }


def _hash(key: bytes, reader: UUID, other: UUID) -> str:
    """The same for the same two. Keyed, because ids are no secrets and could be tried one by one;
    another one for each reader, because two of them may compare."""
    return hmac.digest(key, reader.bytes + other.bytes, "sha256").hex()[:32]


async def _hash_key(conn: AsyncConnection) -> bytes:
    """The installation's, made when it is first needed."""
    wanted = select(system_config.c.value).where(system_config.c.key == _HASH_KEY)
    key: str | None = (await conn.execute(wanted)).scalar_one_or_none()
    if key is None:
        made = insert(system_config).values(
            key=_HASH_KEY, value=secrets.token_hex(32), value_type="string", is_secret=True
        )
        await conn.execute(made.on_conflict_do_nothing())
        # Another process's, if that was faster.
        key = (await conn.execute(wanted)).scalar_one()
    return bytes.fromhex(key)
