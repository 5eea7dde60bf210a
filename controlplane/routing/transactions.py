"""Transactions that can only see one tenant's schema."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol
from uuid import UUID

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.errors import InsufficientPrivilege, InvalidParameterValue
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from controlplane.domain.naming import schema_name
from controlplane.errors import TenantSchemaMissing
from controlplane.routing.connections import Pool, borrowed
from controlplane.routing.tenant import check_scope, current_tenant

# SET LOCAL, never SET: a pooled connection must not keep it, and a pooler would hand it to others.
# Never set_config() either: the tenant's role may not call it. pg_temp is named, and last, because
# it is searched first where it is not named. The SELECT tells what the path and the role came to
# be: a missing schema, or one without USAGE, is silently skipped.
_PRELUDE = sql.SQL(
    "BEGIN; SET LOCAL search_path TO {schema}, pg_temp;"
    " SET LOCAL app.current_tenant_id TO {id}; SET LOCAL ROLE {role};"
    " SELECT current_schema(), current_user"
)
# What ran in the transaction may have said SET without LOCAL, and COMMIT would keep it.
_COMMIT = "COMMIT; RESET ROLE; RESET search_path; RESET app.current_tenant_id"


class Identified(Protocol):
    """Whatever stands for a tenant; the schema's and the role's name follow from its id."""

    @property
    def id(self) -> UUID: ...


class Tenancy:
    """Opens transactions for tenants. `pool` connects as the app servers' login."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def transaction(
        self, tenant: Identified | None = None
    ) -> AsyncIterator[AsyncConnection[Any]]:
        """A connection inside a transaction of the tenant; None means `current_tenant()`.

        Commits at the end, rolls back on any exception, a cancellation included; inside it
        `conn.transaction()` makes savepoints. The tenant's state is not looked at: that is the
        directory's and the middleware's matter.

        Raises MissingTenantContext without a tenant, TenantContextConflict in the scope of
        another one, TenantSchemaMissing where schema or role cannot be entered, and
        psycopg.ProgrammingError at the end if a statement failed and its error was swallowed, or
        if the transaction was ended inside: then nothing, or not everything, was committed.
        """
        tenant_id = (tenant or current_tenant()).id
        check_scope(tenant_id)
        async with borrowed(self._pool) as conn:
            try:
                await _enter(conn, tenant_id)
                yield conn
                await _commit(conn)
            finally:
                await _roll_back(conn)


async def _enter(conn: AsyncConnection[Any], tenant_id: UUID) -> None:
    schema = schema_name(tenant_id)
    name = sql.Identifier(schema)
    prelude = _PRELUDE.format(schema=name, id=sql.Literal(str(tenant_id)), role=name)
    async with conn.cursor(row_factory=tuple_row) as cursor:
        try:
            await cursor.execute(prelude)
        except (InvalidParameterValue, InsufficientPrivilege) as error:
            raise TenantSchemaMissing(f"The role {schema} is missing or not granted.") from error
        await cursor.set_result(-1)
        if await cursor.fetchone() != (schema, schema):
            raise TenantSchemaMissing(f"The schema {schema} is missing or closed to its role.")


async def _commit(conn: AsyncConnection[Any]) -> None:
    # In a failed transaction COMMIT rolls back and reports success.
    status = conn.info.transaction_status
    if status != TransactionStatus.INTRANS:
        raise psycopg.ProgrammingError(
            f"the tenant's transaction cannot be committed, it is {status.name}:"
            " let errors pass, or wrap what may fail in conn.transaction()"
        )
    await conn.execute(_COMMIT)


async def _roll_back(conn: AsyncConnection[Any]) -> None:
    if conn.info.transaction_status in {TransactionStatus.INTRANS, TransactionStatus.INERROR}:
        # A lost connection rolls back by itself; its error must not hide the first one.
        with suppress(psycopg.Error):
            await conn.execute("ROLLBACK")
