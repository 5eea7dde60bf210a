import functools

import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from controlplane.errors import (
    MissingTenantContext,
    TenantContextConflict,
    TenantMigrating,
    TenantSchemaMissing,
)
from controlplane.routing import tenant_scope
from controlplane.routing.sqlalchemy_sessions import (
    async_tenant_sessions,
    for_tenant,
    tenant_sessions,
)

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]

SEEN = text(
    "SELECT current_setting('search_path'), current_user,"
    " coalesce(current_setting('app.current_tenant_id', true), '')"
)


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]


@pytest.fixture
def engine(world):
    """One connection, for everybody."""
    engine = create_engine(
        "postgresql+psycopg://",
        creator=functools.partial(psycopg.connect, world.app),
        pool_size=1,
        max_overflow=0,
    )
    yield engine
    # As it came, whatever the test did to it.
    with engine.connect() as conn:
        assert tuple(conn.execute(SEEN).one()) == ('"$user", public', world.login, "")
    engine.dispose()


def _bodies(session):
    return list(session.scalars(text("SELECT body FROM notes ORDER BY id")))


def test_a_session_sees_its_tenant_and_no_other(world, engine):
    sessions = tenant_sessions(engine)
    for tenant in (world.acme, world.globex, world.acme):
        with tenant_scope(tenant), sessions.begin() as session:
            seen = (f"{tenant.schema}, pg_temp", tenant.schema, str(tenant.id))
            assert tuple(session.execute(SEEN).one()) == seen
            with session.begin_nested():
                assert tuple(session.execute(SEEN).one()) == seen
            assert session.get_one(Note, 1).body == tenant.subdomain
            session.add(Note(id=session.scalar(text("SELECT max(id) + 1 FROM notes")), body="new"))
    assert world.notes(world.acme) == ["acme", "new", "new"]
    assert world.notes(world.globex) == ["globex", "new"]


async def test_an_async_session_does_too(world):
    engine = create_async_engine(
        "postgresql+psycopg://",
        async_creator=functools.partial(psycopg.AsyncConnection.connect, world.app),
        pool_size=1,
        max_overflow=0,
    )
    sessions = async_tenant_sessions(engine)
    for tenant in (world.acme, world.globex):
        async with sessions(info=for_tenant(tenant)) as session, session.begin():
            assert (await session.get_one(Note, 1)).body == tenant.subdomain
            async with session.begin_nested():
                session.add(Note(id=2, body="two"))
    with pytest.raises(MissingTenantContext):
        async with sessions() as session:
            await session.execute(text("SELECT 1"))
    async with engine.connect() as conn:
        assert tuple((await conn.execute(SEEN)).one())[1] == world.login
    await engine.dispose()
    assert world.notes(world.acme) == ["acme", "two"]


def test_without_a_tenant_nothing_is_sent(engine):
    with tenant_sessions(engine)() as session:
        for _ in range(2):
            with pytest.raises(MissingTenantContext):
                session.execute(text("SELECT 1"))
        assert engine.pool.checkedout() == 0


def test_a_session_is_one_tenants_for_all_its_life(world, engine):
    sessions = tenant_sessions(engine)
    with sessions() as session:
        with tenant_scope(world.acme):
            assert _bodies(session) == ["acme"]
            session.commit()
        with tenant_scope(world.globex), pytest.raises(TenantContextConflict):
            _bodies(session)
    with (
        tenant_scope(world.globex),
        sessions(info=for_tenant(world.acme)) as session,
        pytest.raises(TenantContextConflict),
    ):
        _bodies(session)


@pytest.mark.parametrize("gone", ["DROP SCHEMA {tenant} CASCADE", "REVOKE {tenant} FROM {login}"])
def test_a_missing_schema_reads_nobodys_rows_and_goes_on_doing_so(world, engine, gone):
    world.do("CREATE TABLE public.notes AS SELECT 1 AS id, 'decoy' AS body")
    world.do("GRANT USAGE ON SCHEMA public TO PUBLIC; GRANT SELECT ON public.notes TO PUBLIC")
    world.do(gone, tenant=world.acme.schema, login=world.login)
    with tenant_sessions(engine)(info=for_tenant(world.acme)) as session:
        with pytest.raises(TenantSchemaMissing, match=world.acme.schema):
            _bodies(session)
        with pytest.raises(DBAPIError):
            _bodies(session)


def test_a_swallowed_error_is_no_silent_rollback(world, engine):
    with tenant_sessions(engine)(info=for_tenant(world.acme)) as session:
        session.execute(text("DELETE FROM notes"))
        with pytest.raises(IntegrityError):
            session.execute(text("INSERT INTO notes VALUES (2, NULL)"))
        with pytest.raises(psycopg.ProgrammingError, match="INERROR"):
            session.commit()
    assert world.notes(world.acme) == ["acme"]


def test_a_constraint_that_fails_at_commit_is_raised(world, engine):
    world.do(
        "ALTER TABLE {tenant}.notes ADD UNIQUE (body) DEFERRABLE INITIALLY DEFERRED",
        tenant=world.acme.schema,
    )
    with tenant_sessions(engine)(info=for_tenant(world.acme)) as session:
        session.execute(text("INSERT INTO notes VALUES (2, 'acme')"))
        with pytest.raises(IntegrityError):
            session.commit()
    assert world.notes(world.acme) == ["acme"]


def test_a_savepoint_undoes_itself_alone(world, engine):
    with tenant_sessions(engine).begin() as session:
        session.info.update(for_tenant(world.acme))
        session.execute(text("INSERT INTO notes VALUES (2, 'kept')"))
        with pytest.raises(IntegrityError), session.begin_nested():
            session.execute(text("INSERT INTO notes VALUES (1, 'taken')"))
        assert _bodies(session) == ["acme", "kept"]
    assert world.notes(world.acme) == ["acme", "kept"]


@pytest.mark.parametrize("end", ["commit", "rollback", "close"])
def test_set_without_local_does_not_outlive_the_transaction(world, engine, end):
    with tenant_sessions(engine)(info=for_tenant(world.acme)) as session:
        session.execute(text(f"SET search_path TO {world.acme.schema}"))
        session.execute(text(f"SET ROLE {world.acme.schema}"))
        session.execute(text("SET app.current_tenant_id TO 'kept'"))
        getattr(session, end)()


def test_a_revision_that_is_not_served_is_refused_before_any_sql(world, engine):
    with tenant_scope(world.acme):
        with tenant_sessions(engine, serves={"abc"})() as session:
            assert _bodies(session) == ["acme"]
        with tenant_sessions(engine, serves={"other"})() as session:
            with pytest.raises(TenantMigrating):
                _bodies(session)
            assert engine.pool.checkedout() == 0


def test_the_engine_itself_stays_as_it_was_and_sees_no_tenant(engine):
    tenant_sessions(engine)
    with pytest.raises(ProgrammingError), engine.begin() as conn:
        conn.execute(text("SELECT * FROM notes"))
    with engine.begin() as conn:
        conn.execute(text("SET LOCAL app.current_tenant_id TO 'mine'"))
