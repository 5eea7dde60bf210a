"""A database that all tests here share by rolling back; engines for those that must commit."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import NullPool
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from controlplane.domain.naming import parse_subdomain
from controlplane.provisioning import requests
from controlplane.provisioning.requests import NewTenant
from controlplane.store.audit import Actor
from controlplane.store.urls import sqlalchemy_url
from tests.database import Database, Server, fresh_database

ADMIN = Actor(UUID(int=7), "admin", request_id="req-1", ip="192.0.2.9", agent="curl")


@dataclass(frozen=True)
class Accepted:
    """A tenant that was asked for, and its operation."""

    id: UUID
    operation: UUID


async def accept(conn: AsyncConnection, subdomain: str) -> Accepted:
    """Ask for a tenant as the API does; all but the subdomain is the same for each."""
    wanted = NewTenant("Acme", parse_subdomain(subdomain), admin_email="ada@acme.test")
    operation = await requests.create_tenant(conn, wanted, actor=ADMIN, deadline_s=300)
    return Accepted(operation.tenant_id, operation.id)


@pytest.fixture(scope="session")
def shared(server: Server) -> Iterator[Database]:
    """A migrated database in which nobody commits."""
    with fresh_database(server) as made:
        yield made


@pytest.fixture
def tx(shared: Database) -> Iterator[psycopg.Connection]:
    """The owner's transaction, rolled back in the end."""
    with psycopg.connect(shared.owner_url) as conn, conn.transaction(force_rollback=True):
        yield conn


@pytest.fixture
async def conn(shared: Database) -> AsyncIterator[AsyncConnection]:
    """A transaction of the API's login, rolled back in the end."""
    engine = create_async_engine(sqlalchemy_url(shared.control_url), poolclass=NullPool)
    async with engine.connect() as made:
        await made.begin()
        yield made
    await engine.dispose()


@pytest.fixture
async def acme(conn: AsyncConnection) -> Accepted:
    return await accept(conn, "acme")


@pytest.fixture
async def globex(conn: AsyncConnection) -> Accepted:
    return await accept(conn, "globex")


@pytest.fixture
async def control(database: Database) -> AsyncIterator[AsyncEngine]:
    """The API's login in a database of the test's own, to commit in."""
    engine = create_async_engine(sqlalchemy_url(database.control_url), poolclass=NullPool)
    yield engine
    await engine.dispose()
