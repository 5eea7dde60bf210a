"""The rows of a tenant's settings, and the audit trail of their changes.

Functions take a connection inside the tenant's transaction, as the routing layer opens it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.sql import SQL
from psycopg.types.json import Jsonb

from controlplane.domain.principals import Principal
from controlplane.domain.tenant_settings import Change, Setting, Stored, ValueType, told

_READ = """
SELECT key, value, value_type, value_encrypted IS NOT NULL, version FROM settings
WHERE %(keys)s::text[] IS NULL OR key = ANY (%(keys)s)
"""
# Readers go on; whoever changes settings waits here, and then sees what the other has written.
_LOCK = "LOCK TABLE settings IN SHARE ROW EXCLUSIVE MODE"
# Nobody waits for a table that a migration holds: the connection is one of all tenants'.
_PATIENCE = SQL("SET LOCAL lock_timeout = {}")
PATIENCE_MS = 3_000
_AUTHOR = "SELECT id FROM users WHERE id = %s"
_WRITE = """
INSERT INTO settings (key, value, value_type, value_encrypted, updated_by)
VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (key) DO UPDATE SET
  value = excluded.value, value_type = excluded.value_type,
  value_encrypted = excluded.value_encrypted, updated_by = excluded.updated_by,
  updated_at = excluded.updated_at, version = settings.version + 1
"""
_AUDIT = """
INSERT INTO audit_events
  (actor_kind, actor_id, action, target_kind, ip, request_id, details)
VALUES (%s, %s, 'settings.changed', 'settings', %s, %s, %s)
"""


@dataclass(frozen=True)
class Author:
    """Who changes settings, and from where."""

    principal: Principal
    ip: str | None
    request_id: str


async def read(conn: AsyncConnection[Any], keys: Sequence[str] | None = None) -> dict[str, Stored]:
    """The rows with these keys, or all of them. A secret's value is not read."""
    found = await (await conn.execute(_READ, {"keys": keys and list(keys)})).fetchall()
    rows = [
        Stored(key, ValueType(type_), value, sealed, version)
        for key, value, type_, sealed, version in found
    ]
    return {row.key: row for row in rows}


async def read_to_change(
    conn: AsyncConnection[Any], *, patience_ms: int = PATIENCE_MS
) -> dict[str, Stored]:
    """All rows, which nobody else changes until this transaction ends. Raises LockNotAvailable
    where somebody else holds them for longer."""
    await conn.execute(_PATIENCE.format(patience_ms))
    await conn.execute(_LOCK)
    return await read(conn)


async def write(
    conn: AsyncConnection[Any],
    changes: Sequence[Change],
    *,
    author: Author,
    sealed: Mapping[str, bytes],
) -> None:
    """Carry the changes out and note them in the audit trail. `sealed` holds, by key, what is
    stored of each secret that is set."""
    if not changes:
        return
    # A token may outlive its user; the reference must not.
    user = await (await conn.execute(_AUTHOR, [author.principal.id])).fetchone()
    for change in changes:
        await conn.execute(_WRITE, [*_row(change, sealed), user and user[0]])
    principal, details = author.principal, Jsonb(told(list(changes)))
    await conn.execute(
        _AUDIT, [principal.kind, principal.id, author.ip, author.request_id, details]
    )


def _row(change: Change, sealed: Mapping[str, bytes]) -> tuple[Any, ...]:
    setting: Setting = change.setting
    if setting.secret:
        return setting.key, None, setting.type, sealed.get(setting.key)
    value = None if change.after is None else Jsonb(change.after)
    return setting.key, value, setting.type, None
