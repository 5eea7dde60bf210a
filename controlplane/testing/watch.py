"""A pool that looks at each connection when it is lent and when it comes back."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from psycopg import AsyncConnection
from psycopg.generators import execute
from psycopg.pq import ExecStatus, PipelineStatus, TransactionStatus
from psycopg_pool import AsyncConnectionPool

# The role is what the server says, and who the server takes us for: they are set apart.
_SEEN = (
    b"SELECT current_setting('search_path'), current_setting('role'),"
    b" coalesce(current_setting('app.current_tenant_id', true), ''),"
    b" current_user = session_user"
)


@dataclass
class Watch:
    """What was seen of a pool's connections. `path` is the login's own search path: what a
    connection must be found with. `wrong` holds a sentence for each that was not."""

    path: str
    checkouts: int = 0
    wrong: list[str] = field(default_factory=list)

    async def lent(self, conn: AsyncConnection[Any]) -> None:
        """Notes what is wrong and lets it pass: what comes of it is to be seen."""
        self.checkouts += 1
        if (busy := _busy(conn)) is not None:
            self.wrong.append(f"lent {busy}")
            return
        async with conn.lock:
            # Past psycopg's transactions: asking must neither begin one nor end one.
            conn.pgconn.send_query(_SEEN)
            (result,) = await conn.wait(execute(conn.pgconn))
        if result.status != ExecStatus.TUPLES_OK:
            self.wrong.append(f"lent and refused: {result.error_message.decode()}")
            return
        seen = [(result.get_value(0, column) or b"").decode() for column in range(4)]
        if seen != [self.path, "none", "", "t"]:
            self.wrong.append(f"lent with path, role, tenant, own user: {seen}")

    def returned(self, conn: AsyncConnection[Any]) -> None:
        # An open transaction is the pool's to end, and no fault where no Tenancy was asked.
        if not conn.closed and conn.pgconn.pipeline_status != PipelineStatus.OFF:
            self.wrong.append("came back in the midst of a pipeline")


def _busy(conn: AsyncConnection[Any]) -> str | None:
    if conn.pgconn.pipeline_status != PipelineStatus.OFF:
        return "in the midst of a pipeline"
    status = conn.pgconn.transaction_status
    # UNKNOWN is a lost connection: the pool's to replace.
    if status in {TransactionStatus.IDLE, TransactionStatus.UNKNOWN}:
        return None
    return f"in transaction status {TransactionStatus(status).name}"


class WatchedPool(AsyncConnectionPool[AsyncConnection[Any]]):
    """As AsyncConnectionPool, which it is."""

    def __init__(self, url: str, *, size: int, watch: Watch, pooled: bool) -> None:
        """`pooled`: a pooler stands between, so nothing may be prepared."""
        self._watch = watch
        super().__init__(
            url,
            min_size=size,
            max_size=size,
            open=False,
            check=watch.lent,
            kwargs={"prepare_threshold": None} if pooled else {},
        )

    @asynccontextmanager
    async def connection(
        self,
        timeout: float | None = None,  # noqa: ASYNC109  the pool's own signature
    ) -> AsyncIterator[AsyncConnection[Any]]:
        async with super().connection(timeout) as conn:
            try:
                yield conn
            finally:
                self._watch.returned(conn)
