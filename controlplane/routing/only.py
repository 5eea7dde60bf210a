"""One tenant alone: an installation for a single customer needs no subdomain."""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

import psycopg
from psycopg.rows import tuple_row

from controlplane.errors import StartupError
from controlplane.routing.connections import Pool, borrowed
from controlplane.routing.resolve import Asked, Identified

# Whoever has data here, or is about to.
_PRESENT = """
SELECT id FROM public.tenant_registry WHERE state NOT IN ('failed', 'purging', 'purged') LIMIT 2
"""


@dataclass(frozen=True)
class OnlyTenant:
    """Every request that no host names a tenant for is this one's. A resolver for
    `TenantMiddleware(also=[...])`, from `only_tenant`."""

    witness: ClassVar[bool] = False
    id: UUID

    def __call__(self, asked: Asked) -> Identified:  # noqa: ARG002  whatever is asked
        return Identified(self.id)


async def only_tenant(pool: Pool) -> OnlyTenant:
    """The tenant of a database that has just one; ask once, when the app server starts.

    Raises StartupError where there is none, where there are several, and where nobody answers.
    """
    try:
        async with borrowed(pool) as conn, conn.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(_PRESENT)
            found = await cursor.fetchall()
    except psycopg.Error as error:
        raise StartupError("The tenant registry does not answer; try again.") from error
    if len(found) != 1:
        several = "there are several: let hosts name them" if found else "there is none: create it"
        raise StartupError(f"One tenant alone was to be served, but {several}.")
    return OnlyTenant(found[0][0])
