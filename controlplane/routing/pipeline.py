"""A tenant's transaction in psycopg's pipeline mode.

The prelude waits in libpq's buffer and leaves with the first query, COMMIT leaves with what was
sent last. A pipeline is the server's own way to fail closed: after an error it executes nothing
until the next Sync, so no query runs behind a prelude that failed.

This module and `cursors` are the ones that know how psycopg keeps its pipelines.
"""

import contextlib
from collections import deque
from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg import AsyncConnection, AsyncPipeline, Pipeline
from psycopg.abc import PQGen
from psycopg.errors import PipelineAborted
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from controlplane.errors import TenantSchemaMissing
from controlplane.routing import statements
from controlplane.routing.block import Block, cannot_commit
from controlplane.routing.cursors import deferring

# So many answers may lie unread before we look which of them have come.
_UNREAD = 64
_NO_TRANSACTION = "25P01"
_INSIDE = {TransactionStatus.INTRANS, TransactionStatus.INERROR}


class _Eager:
    """Hands what is queued to the kernel at once, and reads where the kernel takes no more.

    psycopg would poll the socket before every command, and raise an error wherever its answer
    happened to come in; here it is raised where answers are asked for.
    """

    command_queue: deque[Any]
    result_queue: deque[Any]
    pgconn: Any
    level: int

    def _communicate_gen(self) -> PQGen[None]:
        while self.command_queue:
            self.command_queue.popleft()()
        if self.pgconn.flush() or len(self.result_queue) > _UNREAD:
            yield from super()._communicate_gen()  # type: ignore[misc]  # mixed into a pipeline's class

    def _enter_gen(self) -> PQGen[None]:
        # Without a Sync libpq knows of no transaction, once every answer is read: psycopg would
        # take a savepoint for the outermost transaction, and commit at its end.
        if self.command_queue or self.pgconn.transaction_status not in _INSIDE:
            yield from self._sync_gen()  # type: ignore[attr-defined]  # of a pipeline's class
        self.level += 1


class _EagerAsync(_Eager, AsyncPipeline): ...


class _EagerSync(_Eager, Pipeline): ...


class _Answer:
    """Takes the place of the cursor that psycopg keeps to give an answer to."""

    def __init__(self, block: Block) -> None:
        self._block = block
        self.command = b""

    def _check_results(self, results: list[PGresult]) -> None:
        (result,) = results
        if result.status == ExecStatus.PIPELINE_ABORTED:
            raise PipelineAborted("pipeline aborted")
        if result.status == ExecStatus.FATAL_ERROR:
            raise self._error(result)

    def _error(self, result: PGresult) -> Exception:
        return self._block.error_of(result)

    def _set_results(self, results: list[PGresult]) -> None:
        self.command = results[0].command_status or b""


class _Entry(_Answer):
    """An answer to the prelude."""

    def _error(self, result: PGresult) -> Exception:
        return self._block.entry_error(self._block.error_of(result))


class Pipelined(Block):
    """In as few round trips as there are times to wait for an answer, and one for the end."""

    _pipeline: Any = None
    _ended_inside = False

    def _enter(self) -> PQGen[None]:
        conn: Any = self._conn
        conn.pgconn.enter_pipeline_mode()
        kind = _EagerAsync if isinstance(conn, AsyncConnection) else _EagerSync
        self._pipeline = conn._pipeline = kind(conn)  # noqa: SLF001
        self._pipeline.level = 1
        self._factory, conn.cursor_factory = conn.cursor_factory, deferring(conn.cursor_factory)
        conn.add_notice_handler(self._noticed)
        self._send(self._prelude.statements, _Entry(self))
        yield from ()

    def commit(self) -> PQGen[None]:
        ending = _Answer(self)
        try:
            self._send([statements.COMMIT], ending)
            self._send(statements.RESETS)
            yield from self._synchronise()
        except PipelineAborted as error:
            # What aborted it was raised inside the block, and swallowed there.
            raise cannot_commit("INERROR") from error
        if ending.command != b"COMMIT":
            raise cannot_commit("INERROR")
        if self._ended_inside:
            raise cannot_commit("IDLE")
        self._leave()

    def _is_open(self) -> bool:
        conn: Any = self._conn
        return self._pipeline is not None and conn._pipeline is self._pipeline  # noqa: SLF001

    def roll_back(self) -> PQGen[None]:
        with contextlib.suppress(psycopg.Error):
            # The Sync in front: an aborted pipeline would skip the ROLLBACK.
            self._sync()
            self._send([statements.ROLLBACK, *statements.RESETS])
            with contextlib.suppress(TenantSchemaMissing):
                yield from self._synchronise()
            yield from self._pipeline._fetch_gen(flush=False)  # noqa: SLF001
        self._leave()

    def _leave(self) -> None:
        conn: Any = self._conn
        conn._pipeline = None  # noqa: SLF001
        conn.cursor_factory = self._factory
        conn.remove_notice_handler(self._noticed)
        conn.pgconn.exit_pipeline_mode()

    def _send(self, texts: Iterable[bytes], answer: _Answer | None = None) -> None:
        """Into libpq's buffer; nothing leaves, nothing waits."""
        queued = answer and (answer, None)
        for text in texts:
            self._conn.pgconn.send_query_params(text, None)
            self._pipeline.result_queue.append(queued)

    def _sync(self) -> None:
        self._conn.pgconn.pipeline_sync()
        self._pipeline.result_queue.append(None)

    def _synchronise(self) -> PQGen[None]:
        """Raises the first error among the answers that nobody has asked for."""
        self._sync()
        yield from self._pipeline._communicate_gen()  # noqa: SLF001
        yield from self._pipeline._fetch_gen(flush=False)  # noqa: SLF001

    def _noticed(self, notice: psycopg.errors.Diagnostic) -> None:
        # COMMIT without a transaction is no error, only worth a warning.
        self._ended_inside = self._ended_inside or notice.sqlstate == _NO_TRANSACTION
