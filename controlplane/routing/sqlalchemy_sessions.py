"""SQLAlchemy sessions of one tenant; the only module here that needs SQLAlchemy.

A session's transaction is entered by one message behind SQLAlchemy's BEGIN, and left by the
message that commits it.
"""

from typing import Any
from uuid import UUID

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, SessionTransaction, sessionmaker

from controlplane.errors import TenantContextConflict
from controlplane.routing import statements
from controlplane.routing.block import cannot_commit, entry_error
from controlplane.routing.revisions import Serves
from controlplane.routing.terms import Identified, tenant_id_of

_TENANT = "controlplane_tenant"
_SERVES = "controlplane_serves"
_FIRST = "controlplane_first_tenant"


class TenantSession(Session):
    """A session that reaches the database as one tenant only, for all its life: objects that it
    remembers are never looked up for another.

    That is the one of `info["controlplane_tenant"]` or else `current_tenant()`, asked anew for
    every statement: without one nothing is sent.
    """

    def get_bind(self, *args: Any, **kwargs: Any) -> Engine | Connection:
        """Raises MissingTenantContext, TenantContextConflict or TenantMigrating."""
        self.tenant_id()
        return super().get_bind(*args, **kwargs)

    def tenant_id(self) -> UUID:
        tenant_id = tenant_id_of(self.info.get(_TENANT), self.info.get(_SERVES))
        first: UUID = self.info.setdefault(_FIRST, tenant_id)
        if tenant_id != first:
            raise TenantContextConflict(
                f"Tenant {tenant_id} was asked for in a session of tenant {first}."
            )
        return tenant_id


def tenant_sessions(engine: Engine, *, serves: Serves | None = None) -> sessionmaker[TenantSession]:
    """Makes sessions that see one tenant's schema: `with sessions() as session, session.begin():`.

    A job names its tenant by `sessions(info=for_tenant(tenant))`. The first statement of a
    transaction raises MissingTenantContext without a tenant, TenantContextConflict in another
    one's scope, TenantMigrating at a revision that is not served, and TenantSchemaMissing where
    schema or role cannot be entered. A commit raises psycopg.ProgrammingError where an error was
    swallowed.
    """
    return sessionmaker(_guarded(engine), class_=TenantSession, info={_SERVES: serves})


def async_tenant_sessions(
    engine: AsyncEngine, *, serves: Serves | None = None
) -> async_sessionmaker[AsyncSession]:
    """As `tenant_sessions`, for asyncio."""
    guarded = AsyncEngine(_guarded(engine.sync_engine))
    return async_sessionmaker(guarded, sync_session_class=TenantSession, info={_SERVES: serves})


def for_tenant(tenant: Identified) -> dict[str, Identified]:
    """What a session's `info` is to hold where no request has brought a tenant."""
    return {_TENANT: tenant}


def _guarded(engine: Engine) -> Engine:
    """The same pool under an engine of its own, so that other users' commits stay as they are."""
    guarded = engine.execution_options()
    event.listen(guarded, "commit", _leave)
    return guarded


@event.listens_for(TenantSession, "after_begin")
def _enter(session: TenantSession, transaction: SessionTransaction, conn: Connection) -> None:
    if transaction.nested:
        # The savepoint keeps what its transaction has set.
        return
    prelude = statements.prelude(session.tenant_id())
    # Behind a pooler a statement's name may be another client's statement.
    _driver(conn).prepare_threshold = None
    try:
        _send(conn, prelude.inside)
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.Error):
            raise entry_error(error.orig, prelude.schema) from error
        raise


def _leave(conn: Connection) -> None:
    # In a failed transaction COMMIT rolls back and reports success.
    status = _driver(conn).info.transaction_status
    if status == TransactionStatus.INERROR:
        # SQLAlchemy takes a failed commit for the end and lends the connection again as it is.
        conn.connection.rollback()
        raise cannot_commit(status.name)
    # Afterwards psycopg finds no transaction to commit, so that this costs no round trip.
    _send(conn, statements.LEAVE)


def _send(conn: Connection, script: bytes) -> None:
    # Without this option SQLAlchemy passes empty parameters, and psycopg refuses several statements.
    conn.exec_driver_sql(script.decode(), execution_options={"no_parameters": True})


def _driver(conn: Connection) -> Any:
    """psycopg's connection, of either kind."""
    return conn.connection.driver_connection
