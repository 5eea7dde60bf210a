"""Whether a connection leads to PostgreSQL itself, and not to a pooler in front of it."""

from psycopg.pq.abc import PGconn

from controlplane.errors import StartupError

RUNNING = "SELECT pg_backend_pid()"
_POOLED = (
    "DATABASE_URL_DIRECT leads through a pooler such as PgBouncer; name PostgreSQL's own address:"
    " LISTEN, migrations and the worker need sessions of their own."
)
# How PgBouncer refuses what only a session of one's own can be told.
_REFUSES = "unsupported startup parameter"


def check_direct(driver: PGconn, running: int) -> None:
    """Raises StartupError where another process than the one that was connected to answers RUNNING.

    A pooler greets clients by itself, with a number that it has made up.
    """
    if driver.backend_pid != running:
        raise StartupError(_POOLED)


def check_refusal(error: BaseException | None) -> None:
    """Raises StartupError where a connection was refused as poolers do."""
    if _REFUSES in str(error):
        raise StartupError(_POOLED) from error
