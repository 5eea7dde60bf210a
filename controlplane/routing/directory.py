"""Which tenant holds a subdomain, asked of PostgreSQL."""

import asyncio
from uuid import UUID

import psycopg
from psycopg.rows import tuple_row

from controlplane.domain.tenants import TenantState
from controlplane.errors import TenantUnavailable
from controlplane.routing.connections import Pool, borrowed
from controlplane.routing.tenant import RoutedTenant

_LOOKUP = (
    "SELECT id, subdomain, name, state, tier, revision"
    " FROM public.tenant_registry WHERE subdomain = %s"
)
_Row = tuple[UUID, str, str, str, str, str | None]


class TenantDirectory:
    """Reads the registry view anew for every lookup. `timeout_s` bounds the wait, in seconds."""

    def __init__(self, pool: Pool, *, timeout_s: float = 5.0) -> None:
        self._pool = pool
        self._timeout_s = timeout_s

    async def lookup(self, subdomain: str) -> RoutedTenant | None:
        """The tenant that holds the subdomain, in whatever state.

        Raises TenantUnavailable where that cannot be known.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                row = await self._row(subdomain)
        except (psycopg.Error, TimeoutError) as error:
            raise TenantUnavailable("The tenant directory does not answer; try again.") from error
        return None if row is None else _routed(row)

    async def _row(self, subdomain: str) -> _Row | None:
        async with borrowed(self._pool) as conn, conn.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(_LOOKUP, [subdomain])
            row: _Row | None = await cursor.fetchone()
            return row


def _routed(row: _Row) -> RoutedTenant:
    tenant_id, subdomain, name, state, tier, revision = row
    try:
        return RoutedTenant(tenant_id, subdomain, name, TenantState(state), tier, revision)
    except ValueError as error:
        raise TenantUnavailable(
            f"The tenant '{subdomain}' is in a state that this version does not know: {state}."
        ) from error
