"""The owner's way into one tenant's schema, for the length of a block in a transaction."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from psycopg import AsyncConnection as Driver
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Identifier, Literal
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.naming import schema_name

# Literal SET LOCAL: distributed servers pass it on, set_config() they do not.
_PATH = SQL("SET LOCAL search_path = {}, pg_temp")
_IDENTITY = SQL("SET LOCAL app.current_tenant_id = {}")
# Nothing of the caller's is found by accident afterwards: public tables are named in full.
LEAVE = "SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL app.current_tenant_id = ''"


def enter(tenant_id: UUID) -> str:
    """The statements that lead a transaction into the tenant's schema."""
    path = _PATH.format(Identifier(schema_name(tenant_id))).as_string()
    return f"{path}; {identify(tenant_id)}"


def identify(tenant_id: UUID) -> str:
    """The statement that lets row security pass the tenant's rows, by whatever path."""
    return _IDENTITY.format(Literal(str(tenant_id))).as_string()


@asynccontextmanager
async def tenant_scope(conn: AsyncConnection, tenant_id: UUID) -> AsyncIterator[None]:
    """Within the block, unqualified names are the tenant's and row security lets its rows pass.

    Needs an open transaction's connection. Afterwards the path holds pg_catalog only.
    """
    await send(conn, enter(tenant_id))
    try:
        yield
    finally:
        if not await _aborted(conn):
            await send(conn, LEAVE)


async def send(conn: AsyncConnection, script: str) -> None:
    """One parameterless message, which may hold several statements and percent signs."""
    # Without this option SQLAlchemy passes empty parameters: psycopg would then read % as a
    # placeholder and refuse several statements.
    await conn.exec_driver_sql(script, execution_options={"no_parameters": True})


async def _aborted(conn: AsyncConnection) -> bool:
    """Whether the transaction has failed, so that only its rollback can follow."""
    if conn.closed or conn.invalidated:
        return True
    driver = (await conn.get_raw_connection()).driver_connection
    assert isinstance(driver, Driver)  # noqa: S101  the only driver there is
    return driver.info.transaction_status is not TransactionStatus.INTRANS
