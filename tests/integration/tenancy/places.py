"""Two tenants in a real database, and ways in with each login."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from controlplane.domain.naming import Mark, SchemaName, schema_name
from controlplane.tenancy.create import create
from controlplane.tenancy.scope import enter
from controlplane.tenancy.template import Template

ROWS = (Path(__file__).parent / "rows.sql").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Place:
    """A database as the `database` fixture gives it, with what tenancy needs to know of it."""

    owner_url: str = field(repr=False)
    app_url: str = field(repr=False)
    superuser_url: str = field(repr=False)
    installation: UUID

    @property
    def app_login(self) -> str:
        return _login(self.app_url)

    @property
    def owner_login(self) -> str:
        return _login(self.owner_url)

    def mark(self, tenant_id: UUID) -> Mark:
        return Mark(self.installation, tenant_id, uuid4())

    def owner(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """One transaction as the owner, committed at the end of the block."""
        return _transaction(self.owner_url)

    def superuser_async(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return _transaction(self.superuser_url)

    async def tenant(self, template: Template, *, rows: bool = True) -> UUID:
        """A new tenant, with the rows of rows.sql unless told otherwise."""
        tenant_id = uuid4()
        async with self.owner() as conn:
            await create(
                conn,
                tenant_id=tenant_id,
                mark=self.mark(tenant_id),
                app_login=self.app_login,
                template=template,
            )
        if rows:
            with self.owned(tenant_id) as connection:
                connection.execute(ROWS)
        return tenant_id

    @contextmanager
    def owned(self, tenant_id: UUID) -> Iterator[psycopg.Connection]:
        """A transaction as the owner, inside the tenant's schema."""
        with psycopg.connect(plain(self.owner_url)) as connection:
            connection.execute(enter(tenant_id))
            yield connection

    @contextmanager
    def served(self, schema: UUID, *, context: UUID | None) -> Iterator[psycopg.Connection]:
        """A transaction as the app, with the role and path of one tenant and the id of another
        (or of none) in its context."""
        name = Identifier(schema_name(schema))
        with psycopg.connect(plain(self.app_url)) as connection:
            if context:
                connection.execute(enter(context))
            connection.execute(SQL("SET LOCAL search_path = {}, pg_temp").format(name))
            connection.execute(SQL("SET LOCAL ROLE {}").format(name))
            yield connection

    @contextmanager
    def superuser(self) -> Iterator[psycopg.Connection]:
        with psycopg.connect(plain(self.superuser_url)) as connection:
            yield connection

    def names(self, tenant_id: UUID) -> tuple[bool, bool]:
        """Whether a schema and whether a role of the tenant's name exist."""
        with self.superuser() as connection:
            row = connection.execute(
                "SELECT to_regnamespace(%(n)s) IS NOT NULL, to_regrole(%(n)s) IS NOT NULL",
                {"n": schema_name(tenant_id)},
            ).fetchone()
        assert row
        return row[0], row[1]


@asynccontextmanager
async def _transaction(url: str) -> AsyncIterator[AsyncConnection]:
    driven = make_url(url).set(drivername="postgresql+psycopg")
    async with create_async_engine(driven, poolclass=NullPool).connect() as conn:
        yield conn
        await conn.commit()


def _login(url: str) -> str:
    login = make_url(url).username
    assert login
    return login


def plain(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def tables(connection: psycopg.Connection, schema: SchemaName) -> list[str]:
    found = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(%s) AND relkind = 'r'",
        [schema],
    )
    return sorted(row[0] for row in found)
