"""Commands that work in the database itself, as the owner: before there is a token, or an API."""

import contextlib
from collections.abc import AsyncIterator

from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from controlplane import settings
from controlplane.connections import open_owner, refusal
from controlplane.errors import DatabaseUnavailable


@contextlib.asynccontextmanager
async def transaction() -> AsyncIterator[AsyncConnection]:
    """A transaction of the owner's, committed at the end. Raises StartupErrors."""
    async with database() as engine, engine.begin() as conn:
        yield conn


@contextlib.asynccontextmanager
async def database() -> AsyncIterator[AsyncEngine]:
    """The owner's access to the database. Raises StartupErrors."""
    engine = open_owner(settings.load())
    try:
        yield engine
    except OperationalError as error:
        first = str(error.orig).strip().splitlines()[0]
        raise DatabaseUnavailable(f"PostgreSQL cannot be reached: {first}") from error
    except ProgrammingError as error:
        raise refusal(error) from error
    finally:
        await engine.dispose()
