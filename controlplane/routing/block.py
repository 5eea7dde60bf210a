"""A tenant's transaction on one connection, as generators for psycopg's `conn.wait()`: what the
async and the sync form have in common is everything but the waiting."""

from abc import ABC, abstractmethod
from typing import Any
from uuid import UUID

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg.abc import PQGen
from psycopg.errors import DivisionByZero, InsufficientPrivilege, InvalidParameterValue
from psycopg.generators import execute
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from controlplane.domain.naming import SchemaName
from controlplane.errors import TenantSchemaMissing
from controlplane.routing import statements

Driver = AsyncConnection[Any] | Connection[Any]


class Block(ABC):
    """Entered once, then committed, and rolled back if that left it open.

    While it lasts, psycopg refuses `conn.commit()` and `conn.rollback()`, as in a transaction()
    block of its own, and `conn.transaction()` makes savepoints.
    """

    def __init__(self, conn: Driver, tenant_id: UUID) -> None:
        self._conn = conn
        self._prelude = statements.prelude(tenant_id)

    def enter(self) -> PQGen[None]:
        self._conn._num_transactions += 1  # noqa: SLF001  there is no other way to be its outermost
        return self._enter()

    @abstractmethod
    def commit(self) -> PQGen[None]:
        """Raises psycopg.ProgrammingError where an error was swallowed or the transaction ended
        inside the block."""

    def left_open(self) -> bool:
        """Whether there is something to roll back. A connection that cannot do it any more, or on
        which somebody else still works, is closed."""
        self._conn._num_transactions = 0  # noqa: SLF001
        if self._conn.lock.locked():
            # A COPY that was left in its midst holds it for ever.
            self._conn.pgconn.finish()
        return self._conn.pgconn.status == ConnStatus.OK and self._is_open()

    @abstractmethod
    def roll_back(self) -> PQGen[None]: ...

    def entry_error(self, error: psycopg.Error) -> Exception:
        return entry_error(error, self._prelude.schema)

    def error_of(self, result: PGresult) -> psycopg.Error:
        return psycopg.errors.error_from_result(result, encoding=self._conn.info.encoding)

    @abstractmethod
    def _enter(self) -> PQGen[None]: ...

    @abstractmethod
    def _is_open(self) -> bool: ...


class Plain(Block):
    """The prelude, and the end, as one message each; statements between them as psycopg's own."""

    def _enter(self) -> PQGen[None]:
        try:
            yield from self._send(self._prelude.script)
        except psycopg.Error as error:
            raise self.entry_error(error) from error

    def commit(self) -> PQGen[None]:
        # In a failed transaction COMMIT rolls back and reports success.
        status = self._conn.info.transaction_status
        if status != TransactionStatus.INTRANS:
            raise cannot_commit(status.name)
        yield from self._send(statements.LEAVE)

    def _is_open(self) -> bool:
        status = self._conn.info.transaction_status
        return status in {TransactionStatus.INTRANS, TransactionStatus.INERROR}

    def roll_back(self) -> PQGen[None]:
        yield from self._send(statements.ABANDON)

    def _send(self, script: bytes) -> PQGen[None]:
        """One message of the simple protocol, which may hold several statements."""
        self._conn.pgconn.send_query(script)
        for result in (yield from execute(self._conn.pgconn)):
            if result.status == ExecStatus.FATAL_ERROR:
                raise self.error_of(result)


def entry_error(error: psycopg.Error, schema: SchemaName) -> Exception:
    """What an error of the prelude means: TenantSchemaMissing, or the error as it is."""
    missing: Exception
    if isinstance(error, DivisionByZero):
        missing = TenantSchemaMissing(f"The schema {schema} is missing or closed to its role.")
    elif isinstance(error, InvalidParameterValue | InsufficientPrivilege):
        missing = TenantSchemaMissing(f"The role {schema} is missing or not granted.")
    else:
        return error
    missing.__cause__ = error
    return missing


def refuse_busy(conn: Driver) -> None:
    """Raises psycopg.ProgrammingError while somebody still works on the connection."""
    if conn.lock.locked():
        raise cannot_commit(TransactionStatus.ACTIVE.name)


def cannot_commit(status: str) -> psycopg.ProgrammingError:
    return psycopg.ProgrammingError(
        f"the tenant's transaction cannot be committed, it is {status}:"
        " let errors pass, or wrap what may fail in conn.transaction()"
    )
