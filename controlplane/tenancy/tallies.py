"""How much there is of what in a tenant's schema.

Functions take a connection inside the tenant's transaction, as the routing layer opens it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.sql import SQL, Composed

# So many rows are counted one by one; of more, the planner's statistics tell.
EXACT_ROWS = 50_000

# What there is: an operator's template need not have the sample's tables. `estimate` is the
# relation whose statistics stand for the rows: a partial index holds those that are counted.
_THERE = """
SELECT wanted.name, greatest(known.reltuples, 0)::bigint
FROM (VALUES
  ('users', 'users', 'id', 'users'),
  ('api_clients', 'api_clients', 'id', 'api_clients'),
  ('sessions', 'sessions', 'revoked_at', 'ix_sessions_live'),
  ('unverified_users', 'unverified_users', 'state', 'uq_unverified_users_email'),
  ('unverified_clients', 'unverified_clients', 'state', 'uq_unverified_clients_client_id'),
  ('documents', 'documents', 'id', 'documents'),
  ('storage', 'documents', 'size_bytes', 'documents')
) AS wanted (name, counted, attribute, estimate)
JOIN pg_attribute a ON a.attrelid = to_regclass(wanted.counted) AND a.attname = wanted.attribute
  AND (a.attname <> 'size_bytes' OR a.atttypid IN (20, 21, 23, 1700))
LEFT JOIN pg_class known ON known.oid = to_regclass(wanted.estimate)
"""
# One more row than is counted tells that there are more.
_ROWS: Mapping[str, SQL] = {
    "users": SQL("SELECT 0 AS size FROM users"),
    "api_clients": SQL("SELECT 0 AS size FROM api_clients"),
    "sessions": SQL(
        "SELECT 0 AS size FROM sessions WHERE revoked_at IS NULL AND expires_at > now()"
    ),
    "unverified_users": SQL("SELECT 0 AS size FROM unverified_users WHERE state = 'pending'"),
    "unverified_clients": SQL("SELECT 0 AS size FROM unverified_clients WHERE state = 'pending'"),
    "documents": SQL("SELECT 0 AS size FROM documents"),
    "storage": SQL("SELECT size_bytes AS size FROM documents"),
}
_COUNT = SQL(
    "SELECT {name} AS name, count(*) AS found, coalesce(sum(size), 0) AS size"
    " FROM ({rows} LIMIT {limit}) AS counted"
)


@dataclass(frozen=True)
class Tally:
    """`estimated`: more rows than are counted one by one."""

    number: int
    estimated: bool

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.number + other.number, self.estimated or other.estimated)


async def tallies(conn: AsyncConnection[Any], *, exact_rows: int = EXACT_ROWS) -> dict[str, Tally]:
    """By name: `users`, `api_clients`, live `sessions`, `pending_registrations`, and where the
    schema has them `documents` and `storage_bytes`. All counts are one statement's, so of one moment.
    """
    there = dict(await (await conn.execute(_THERE)).fetchall())
    found = await (await conn.execute(_counting(list(there), exact_rows + 1))).fetchall()
    counted = {
        name: _tally(name, rows, int(size), there[name], exact_rows) for name, rows, size in found
    }
    return _named(counted)


def _counting(names: list[str], limit: int) -> Composed:
    counts = [_COUNT.format(name=name, rows=_ROWS[name], limit=limit) for name in names]
    return SQL(" UNION ALL ").join(counts)


def _tally(name: str, rows: int, size: int, statistics: int, exact_rows: int) -> Tally:
    estimated = rows > exact_rows
    likely = max(rows, statistics) if estimated else rows
    if name == "storage":
        return Tally(size * likely // max(rows, 1), estimated)
    return Tally(likely, estimated)


def _named(counted: Mapping[str, Tally]) -> dict[str, Tally]:
    pending = counted["unverified_users"] + counted["unverified_clients"]
    templates = {"documents": "documents", "storage": "storage_bytes"}
    return {
        **{name: counted[name] for name in ("users", "api_clients", "sessions")},
        "pending_registrations": pending,
        **{told: counted[name] for name, told in templates.items() if name in counted},
    }
