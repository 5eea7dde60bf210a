"""The same transactions for threads: WSGI applications, Django, scripts."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any
from uuid import UUID

import psycopg
from psycopg import Connection
from psycopg.abc import PQGen

from controlplane.routing.block import Block, refuse_busy
from controlplane.routing.bulkhead import SyncBulkhead
from controlplane.routing.connections import SyncPool, borrowed_sync
from controlplane.routing.revisions import Serves
from controlplane.routing.terms import (
    TENANTS_PER_CONNECTION,
    Answer,
    Identified,
    Statement,
    Terms,
)


class SyncTenancy:
    """As Tenancy, over a psycopg_pool.ConnectionPool or anything of its shape."""

    def __init__(
        self,
        pool: SyncPool,
        *,
        pipelined: bool = True,
        serves: Serves | None = None,
        bulkhead: SyncBulkhead | None = None,
        tenants_per_connection: int | None = TENANTS_PER_CONNECTION,
    ) -> None:
        self._pool = pool
        self._bulkhead = bulkhead
        self._terms = Terms(pipelined, serves, tenants_per_connection)

    @contextmanager
    def transaction(
        self, tenant: Identified | None = None, *, pipelined: bool | None = None
    ) -> Iterator[Connection[Any]]:
        """As Tenancy.transaction, with the same errors at the same places. Asking a cursor for
        its `rowcount` or `description` waits for the answer."""
        tenant_id = self._terms.tenant_id(tenant)
        with self._slot(tenant_id), borrowed_sync(self._pool) as conn:
            block = self._terms.block(conn, tenant_id, pipelined=pipelined)
            try:
                _run(conn, block.enter())
                yield conn
                refuse_busy(conn)
                _run(conn, block.commit())
            finally:
                _roll_back(conn, block)
                self._terms.visits.retire(conn)

    def run(
        self, statements: Sequence[Statement], *, tenant: Identified | None = None
    ) -> list[Answer]:
        """As Tenancy.run: a whole transaction in one round trip."""
        with self.transaction(tenant, pipelined=True) as conn:
            cursors = [conn.execute(*statement) for statement in statements]
        return [
            Answer(cursor.fetchall() if cursor.description else [], cursor.rowcount)
            for cursor in cursors
        ]

    def _slot(self, tenant_id: UUID) -> AbstractContextManager[None]:
        return nullcontext() if self._bulkhead is None else self._bulkhead.slot(tenant_id)


def _run(conn: Connection[Any], generator: PQGen[None]) -> None:
    with conn.lock:
        conn.wait(generator)


def _roll_back(conn: Connection[Any], block: Block) -> None:
    if block.left_open():
        # A lost connection rolls back by itself; its error must not hide the first one.
        with suppress(psycopg.Error):
            _run(conn, block.roll_back())
