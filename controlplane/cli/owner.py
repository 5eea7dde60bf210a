"""Commands that work in the database itself, as the owner: before there is a token, or an API."""

import contextlib
from collections.abc import AsyncIterator
from uuid import UUID

from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from controlplane import settings
from controlplane.connections import open_owner, refusal
from controlplane.domain.tenants import RELEASED
from controlplane.errors import DatabaseUnavailable, TenantNotFound
from controlplane.store import tenants


@contextlib.asynccontextmanager
async def transaction() -> AsyncIterator[AsyncConnection]:
    """A transaction of the owner's, committed at the end. Raises StartupErrors."""
    async with database() as engine, engine.begin() as conn:
        yield conn


@contextlib.asynccontextmanager
async def database() -> AsyncIterator[AsyncEngine]:
    """The owner's access to the database. Raises StartupErrors."""
    engine = open_owner(settings.load())
    try:
        yield engine
    except OperationalError as error:
        first = str(error.orig).strip().splitlines()[0]
        raise DatabaseUnavailable(f"PostgreSQL cannot be reached: {first}") from error
    except ProgrammingError as error:
        raise refusal(error) from error
    finally:
        await engine.dispose()


async def tenant_id(conn: AsyncConnection, reference: str) -> UUID:
    """The id that this is, or that of the tenant with this subdomain; of several, the one that
    holds it. Raises TenantNotFound."""
    with contextlib.suppress(ValueError):
        return UUID(reference)
    found = await tenants.page(conn, limit=1000, subdomain=reference.lower(), include_deleted=True)
    if not found:
        raise TenantNotFound(f"There is no tenant with the subdomain '{reference}'.")
    return min(found, key=lambda tenant: tenant.state in RELEASED).id
