"""The tenants that the control plane tells app servers of, asked of PostgreSQL."""

import asyncio
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import tuple_row

from controlplane.domain.tenants import TenantState
from controlplane.errors import TenantUnavailable
from controlplane.routing.connections import Pool, SyncPool, borrowed, borrowed_sync
from controlplane.routing.hosts import is_own_domain
from controlplane.routing.known import Changes
from controlplane.routing.tenant import RoutedTenant

_COLUMNS = (
    "SELECT id, subdomain, name, state, tier, revision, NULL FROM public.tenant_registry WHERE "
)
_LOOKUP = _COLUMNS + "subdomain = %s"
_IDENTIFY = _COLUMNS + "id = %s"
_HOSTED = """
SELECT id, subdomain, name, state, tier, revision, moved_to FROM public.tenant_hosts WHERE host = %s
"""
# Every transaction below the horizon has ended, so whoever asks from there misses none; one that
# was under way may be told of twice. A server that took another's place may lack the last of its
# transactions and use their numbers again: since when it runs tells them apart.
_CHANGES = """
SELECT coalesce(jsonb_object_agg(subdomain, changed_in), '{}'),
  pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
  extract(epoch FROM pg_postmaster_start_time())::text || '/'
    || (SELECT oid FROM pg_database WHERE datname = current_database()),
  extract(epoch FROM clock_timestamp())::float8
FROM (SELECT subdomain, max(changed_in) AS changed_in FROM public.tenant_registry_changes
      WHERE changed_in >= %s GROUP BY subdomain) AS changes
"""
# Above every transaction's number.
_NEVER = 2**63 - 1
_Row = tuple[UUID, str, str, str, str, str | None, str | None]


class Registry:
    """Reads public.tenant_registry and its changes. `timeout_s` bounds each wait, in seconds."""

    def __init__(self, pool: Pool, *, timeout_s: float = 5.0) -> None:
        self._pool = pool
        self._timeout_s = timeout_s

    async def lookup(self, name: str) -> RoutedTenant | None:
        """The tenant that holds the subdomain, or whose own domain the host is, in whatever state.

        Raises TenantUnavailable where that cannot be known.
        """
        row = await self._one(_query(name), name)
        return None if row is None else routed(row)

    async def identify(self, tenant_id: UUID) -> RoutedTenant | None:
        """The tenant of that id, in whatever state. Raises as `lookup`."""
        row = await self._one(_IDENTIFY, tenant_id)
        return None if row is None else routed(row)

    async def changes(self, since: int | None) -> Changes:
        """What has changed since an earlier answer's horizon; None asks for the horizon alone.

        Raises TenantUnavailable where that cannot be known.
        """
        return _changes(await self._one(_CHANGES, _since(since)))

    async def _one(self, query: str, value: str | int | UUID) -> Any:
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                borrowed(self._pool) as conn,
                conn.cursor(row_factory=tuple_row) as cursor,
            ):
                await cursor.execute(query, [value])
                return await cursor.fetchone()
        except (psycopg.Error, TimeoutError) as error:
            return _nobody(query, error)


class SyncRegistry:
    """The same for threads. The pool's own time-out bounds the wait for a connection, and the
    login's `statement_timeout` that for an answer."""

    def __init__(self, pool: SyncPool) -> None:
        self._pool = pool

    def lookup(self, name: str) -> RoutedTenant | None:
        """As Registry.lookup."""
        row = self._one(_query(name), name)
        return None if row is None else routed(row)

    def identify(self, tenant_id: UUID) -> RoutedTenant | None:
        """As Registry.identify."""
        row = self._one(_IDENTIFY, tenant_id)
        return None if row is None else routed(row)

    def changes(self, since: int | None) -> Changes:
        """As Registry.changes."""
        return _changes(self._one(_CHANGES, _since(since)))

    def _one(self, query: str, value: str | int | UUID) -> Any:
        try:
            with (
                borrowed_sync(self._pool) as conn,
                conn.cursor(row_factory=tuple_row) as cursor,
            ):
                return cursor.execute(query, [value]).fetchone()
        except psycopg.Error as error:
            return _nobody(query, error)


def _query(name: str) -> str:
    return _HOSTED if is_own_domain(name) else _LOOKUP


def _nobody(query: str, error: Exception) -> None:
    """Where nobody can have a domain of his own yet: the control plane is older than this app
    server. Every other error means that it cannot be known, and raises TenantUnavailable."""
    if query is not _HOSTED or not isinstance(error, psycopg.errors.UndefinedTable):
        raise TenantUnavailable("The tenant directory does not answer; try again.") from error


def _since(horizon: int | None) -> int:
    return _NEVER if horizon is None else horizon


def _changes(row: tuple[dict[str, int], int, str, float]) -> Changes:
    changed, horizon, server, at = row
    return Changes(changed, horizon, server, at)


def routed(row: _Row) -> RoutedTenant:
    """Raises TenantUnavailable for a state that this version does not know."""
    tenant_id, subdomain, name, state, tier, revision, moved_to = row
    try:
        known = TenantState(state)
    except ValueError as error:
        raise TenantUnavailable(
            f"The tenant '{subdomain}' is in a state that this version does not know: {state}."
        ) from error
    return RoutedTenant(tenant_id, subdomain, name, known, tier, revision, moved_to)
