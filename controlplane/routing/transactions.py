"""Transactions that can only see one tenant's schema."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from typing import Any
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from psycopg.abc import PQGen

from controlplane.routing.block import Block, refuse_busy
from controlplane.routing.bulkhead import Bulkhead
from controlplane.routing.connections import Pool, borrowed
from controlplane.routing.revisions import Serves
from controlplane.routing.terms import (
    TENANTS_PER_CONNECTION,
    Answer,
    Identified,
    Statement,
    Terms,
)


class Tenancy:
    """Opens transactions for tenants. `pool` connects as the app servers' login.

    `pipelined=False` sends every statement in a round trip of its own, as psycopg does. `serves`
    are the revisions that this app server knows; without it every one is served. `bulkhead` gives
    each tenant a share of the pool. A connection that has seen `tenants_per_connection` different
    tenants is closed when it comes back; None where a pooler stands between.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        pipelined: bool = True,
        serves: Serves | None = None,
        bulkhead: Bulkhead | None = None,
        tenants_per_connection: int | None = TENANTS_PER_CONNECTION,
    ) -> None:
        self._pool = pool
        self._bulkhead = bulkhead
        self._terms = Terms(pipelined, serves, tenants_per_connection)

    @asynccontextmanager
    async def transaction(
        self, tenant: Identified | None = None, *, pipelined: bool | None = None
    ) -> AsyncIterator[AsyncConnection[Any]]:
        """A connection inside a transaction of the tenant; None means `current_tenant()`.

        Commits at the end, rolls back on any exception, a cancellation included; inside it
        `conn.transaction()` makes savepoints. The tenant's state is not looked at: that is the
        directory's and the middleware's matter.

        Pipelined, `execute` does not wait: what goes wrong is raised by the next fetch, at the
        end of a savepoint or of the block, and nothing is committed. COPY, server-side cursors,
        stream() and several statements in one string need `pipelined=False`.

        Raises, before anything is sent, MissingTenantContext without a tenant,
        TenantContextConflict in the scope of another one, TenantMigrating at a revision that is
        not served and TenantBusy above the tenant's share. With the first answer, or at the end:
        TenantSchemaMissing where schema or role cannot be entered; then no statement was run.
        At the end psycopg.ProgrammingError if a statement failed and its error was swallowed, or
        if the transaction was ended inside: then nothing, or not everything, was committed.
        """
        tenant_id = self._terms.tenant_id(tenant)
        async with self._slot(tenant_id), borrowed(self._pool) as conn:
            block = self._terms.block(conn, tenant_id, pipelined=pipelined)
            try:
                await _run(conn, block.enter())
                yield conn
                refuse_busy(conn)
                await _run(conn, block.commit())
            finally:
                await _roll_back(conn, block)
                self._terms.visits.retire(conn)

    async def run(
        self, statements: Sequence[Statement], *, tenant: Identified | None = None
    ) -> list[Answer]:
        """A whole transaction in one round trip: each statement with its parameters, or None.

        Raises what `transaction` raises, and the first statement's error; then nothing is done.
        """
        async with self.transaction(tenant, pipelined=True) as conn:
            cursors = [await conn.execute(*statement) for statement in statements]
        return [
            Answer(await cursor.fetchall() if cursor.description else [], cursor.rowcount)
            for cursor in cursors
        ]

    def _slot(self, tenant_id: UUID) -> AbstractAsyncContextManager[None]:
        return nullcontext() if self._bulkhead is None else self._bulkhead.slot(tenant_id)


async def _run(conn: AsyncConnection[Any], generator: PQGen[None]) -> None:
    async with conn.lock:
        await conn.wait(generator)


async def _roll_back(conn: AsyncConnection[Any], block: Block) -> None:
    if block.left_open():
        # A lost connection rolls back by itself; its error must not hide the first one.
        with suppress(psycopg.Error):
            await _run(conn, block.roll_back())
