"""The journal alone: its tables, an operation under a claim, and another that nothing may touch."""

from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from controlplane.domain.operations import Operation
from controlplane.store.urls import sqlalchemy_url
from tests.database import Database, Server, fresh_database
from tests.engine.journal.rows import claimed, enter, rows, sql


@pytest.fixture(scope="session")
def journal_database(server: Server) -> Iterator[Database]:
    """One for all tests of the journal: they need the tables only, and find them empty."""
    with fresh_database(server) as made:
        yield made


@pytest.fixture
async def owner(journal_database: Database) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(
        sqlalchemy_url(journal_database.owner_url),
        connect_args={"options": "-c lock_timeout=5s"},
    )
    await sql(engine, "TRUNCATE public.tenants CASCADE")
    yield engine
    await engine.dispose()


@pytest.fixture
async def held(owner: AsyncEngine) -> Operation:
    """An operation under a claim."""
    await enter(owner)
    (operation,) = await claimed(owner)
    return operation


@pytest.fixture
async def bystander(owner: AsyncEngine, held: Operation) -> AsyncIterator[Operation]:
    """Another one under a claim of the same epoch, as it was before in the end."""
    await enter(owner)
    (operation,) = await claimed(owner)
    assert operation.epoch == held.epoch
    before = await rows(owner, operation.id)
    yield operation
    assert await rows(owner, operation.id) == before
