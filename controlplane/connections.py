"""How the database is reached: an engine or pool for each login, and whether it can be used."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any
from uuid import UUID

import structlog
from psycopg import Error as DriverError
from psycopg import OperationalError as ConnectionFailed
from psycopg.errors import UndefinedColumn, UndefinedTable
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, InvalidatePoolError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from controlplane.errors import DatabaseUnavailable, StartupError
from controlplane.routing import PoolFigures, check_login
from controlplane.routing.sqlalchemy_pools import CountedAsyncPool, CountedPool
from controlplane.settings import Settings
from controlplane.store import tenants
from controlplane.store.direct import RUNNING, check_direct, check_refusal
from controlplane.store.urls import sqlalchemy_url

log = structlog.get_logger()

# A frozen worker must not hold its locks for ever, nor a lock that is not had stop a worker.
_OWNER_SESSION = (
    "-c idle_in_transaction_session_timeout=15s -c lock_timeout=5s -c statement_timeout=60s"
    " -c client_connection_check_interval=2s"
)
_CONNECT_TIMEOUT_S = 5
_FRESH_S = 1.0
# A server process remembers the tables of each tenant that its worker has made or changed, some 30 kB.
_AGED_S = 1800
_COUNTING = 4
_CONNECTION = {
    "connect_timeout": _CONNECT_TIMEOUT_S,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


def open_control(settings: Settings) -> AsyncEngine:
    """The API's engine. Prepared statements stay off: behind a pooler a name may be another's."""
    return create_async_engine(
        sqlalchemy_url(settings.database_url.get_secret_value()),
        poolclass=CountedAsyncPool,
        pool_size=settings.pool_size,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"prepare_threshold": None, **_CONNECTION},
    )


def control_figures(control: AsyncEngine) -> PoolFigures:
    """What the pool of `open_control` is doing."""
    pool = control.sync_engine.pool
    assert isinstance(pool, CountedPool), "BUG: made by open_control"  # noqa: S101
    return pool.figures()


def open_owner(settings: Settings) -> AsyncEngine:
    """The worker's engine, as the owner on a direct connection."""
    return _owner(settings, connect_args={"options": _OWNER_SESSION, **_CONNECTION})


def open_upgrades(settings: Settings) -> AsyncEngine:
    """The owner's engine for rollouts. The driver prepares nothing: at each ALTER it would forget
    what it has prepared, and what is prepared by name with it."""
    connect_args = {"options": _OWNER_SESSION, "prepare_threshold": None, **_CONNECTION}
    return _owner(settings, connect_args=connect_args)


def _owner(settings: Settings, *, connect_args: dict[str, Any]) -> AsyncEngine:
    engine = create_async_engine(
        sqlalchemy_url(settings.database_url_direct.get_secret_value()),
        pool_size=settings.worker_slots + 3,
        pool_recycle=_AGED_S,
        hide_parameters=True,
        connect_args=connect_args,
    )
    _ping_the_rested(engine)
    return engine


def _ping_the_rested(engine: AsyncEngine) -> None:
    """As `pool_pre_ping`, but only what has rested a while: what has just been in use is there, and
    a drive copes with one that is lost."""
    sync = engine.sync_engine

    @event.listens_for(sync, "checkin")
    def rest(_connection: Any, record: Any) -> None:
        record.info["rests_since"] = monotonic()

    @event.listens_for(sync, "checkout")
    def ask(connection: Any, record: Any, _proxy: Any) -> None:
        since = record.info.get("rests_since")
        if since is None or monotonic() - since < _FRESH_S:
            return
        try:
            sync.dialect.do_ping(connection)
        except DriverError as error:
            raise InvalidatePoolError from error


async def installation_of(owner: AsyncEngine) -> UUID:
    """Raises DatabaseUnavailable, and StartupError where the public schema is another release's or
    a pooler is in between."""
    try:
        async with owner.connect() as conn:
            await _check_direct(conn)
            await _check_migrated(conn)
            return await tenants.installation_id(conn)
    except OperationalError as error:
        check_refusal(error.orig)
        raise DatabaseUnavailable(_one_line(error.orig)) from error
    except DBAPIError as error:
        raise refusal(error) from error


def refusal(error: DBAPIError) -> StartupError:
    """What PostgreSQL said no to, in one line; the remedy where it is known."""
    if isinstance(error.orig, UndefinedTable | UndefinedColumn):
        return StartupError(
            "The database has no public schema of this release; run 'controlplane migrate' first."
        )
    return StartupError(f"PostgreSQL refuses: {str(error.orig).strip().splitlines()[0]}")


async def _check_direct(conn: AsyncConnection) -> None:
    driver: Any = (await conn.get_raw_connection()).driver_connection
    check_direct(driver.pgconn, (await conn.execute(text(RUNNING))).scalar_one())


async def _check_migrated(conn: Any) -> None:
    from controlplane.store.migrate import public_head  # noqa: PLC0415  Alembic takes its time

    found = await conn.execute(text("SELECT version_num FROM public.alembic_version_public"))
    if found.scalar_one_or_none() != public_head():
        raise StartupError(
            "The public schema is not at this release's revision; run 'controlplane migrate'."
        )


def _one_line(error: BaseException | None) -> str:
    first = str(error).strip().splitlines()[0] if error and str(error) else "no answer"
    return f"PostgreSQL cannot be reached: {first}"


@asynccontextmanager
async def open_app_pool(settings: Settings) -> AsyncIterator[AsyncConnectionPool[Any]]:
    """The app servers' pool. Raises DatabaseUnavailable and UnsafeDatabaseRole."""
    pool = AsyncConnectionPool(
        settings.app_database_url.get_secret_value(),
        min_size=1,
        max_size=settings.pool_size,
        kwargs={"prepare_threshold": None, **_CONNECTION},
        # After an outage, whoever asks next begins anew; by default, minutes might pass.
        reconnect_timeout=_CONNECT_TIMEOUT_S,
        open=False,
    )
    try:
        await _check_app_login(pool)
        yield pool
    finally:
        await pool.close()


def counting_pool(settings: Settings) -> AsyncConnectionPool[Any]:
    """The control login's connections for counting requests, not yet open; none until somebody is
    counted. Few: they queue here instead of at the row of a busy tenant."""
    return AsyncConnectionPool(
        settings.database_url.get_secret_value(),
        min_size=0,
        max_size=_COUNTING,
        kwargs={"autocommit": True, "prepare_threshold": None, **_CONNECTION},
        reconnect_timeout=_CONNECT_TIMEOUT_S,
        open=False,
    )


async def _check_app_login(pool: AsyncConnectionPool[Any]) -> None:
    try:
        await pool.open()
        async with pool.connection(timeout=_CONNECT_TIMEOUT_S) as conn:
            for warning in await check_login(conn):
                log.warning("app_login", detail=warning)
    except (ConnectionFailed, TimeoutError) as error:
        raise DatabaseUnavailable(_one_line(error)) from error
