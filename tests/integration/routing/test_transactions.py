import psycopg
import pytest
from psycopg import sql
from psycopg_pool import AsyncConnectionPool

from controlplane.domain.tenants import Tenant
from controlplane.errors import MissingTenantContext, TenantContextConflict, TenantSchemaMissing
from controlplane.routing import Tenancy, settled, tenant_scope
from tests.integration.routing.seen import DEFAULTS, SEEN, backend, bodies, state_at_checkout

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


def _named(query, *schemas):
    return sql.SQL(query).format(*map(sql.Identifier, schemas))


async def test_the_path_is_exactly_the_tenants_schema_and_the_role_is_the_tenants(
    pool, world, tenancy_on
):
    for tenant in (world.acme, world.globex):
        async with tenancy_on(pool).transaction(tenant) as conn:
            assert await (await conn.execute("SHOW search_path")).fetchone() == (
                f"{tenant.schema}, pg_temp",
            )
            seen = await (await conn.execute(SEEN)).fetchone()
            assert seen == (f"{tenant.schema}, pg_temp", tenant.schema, str(tenant.id))
            users = await (await conn.execute("SELECT current_user, session_user")).fetchone()
            assert users == (tenant.schema, world.login)
            assert await bodies(conn) == [tenant.subdomain]
        assert await state_at_checkout(pool) == DEFAULTS


async def test_a_transaction_is_committed_at_its_end(pool, world, tenancy_on):
    async with tenancy_on(pool).transaction(world.acme) as conn:
        await conn.execute("INSERT INTO notes VALUES (%s, %s)", [2, "two"])
    assert world.notes(world.acme) == ["acme", "two"]
    assert world.notes(world.globex) == ["globex"]


async def test_an_exception_rolls_back(pool, world, tenancy_on):
    async def work():
        async with tenancy_on(pool).transaction(world.acme) as conn:
            await conn.execute("DELETE FROM notes")
            raise RuntimeError("boom")

    before = await backend(pool)
    with pytest.raises(RuntimeError, match="boom"):
        await work()
    assert world.notes(world.acme) == ["acme"]
    assert await state_at_checkout(pool) == DEFAULTS
    assert await backend(pool) == before


async def test_without_a_pipeline_the_prelude_is_one_message_and_so_is_the_end(
    pool, world, tmp_path
):
    with (tmp_path / "trace").open("w+b") as trace:
        async with pool.connection() as conn:
            conn.pgconn.trace(trace.fileno())
        async with Tenancy(pool).transaction(world.acme, pipelined=False) as conn:
            await conn.execute("SELECT body FROM notes WHERE id = %s", [1])
        async with pool.connection() as conn:
            conn.pgconn.untrace()
        trace.seek(0)
        sent = [line.split(b"\t") for line in trace if line.split(b"\t")[1] == b"F"]
    messages = [line[3].split()[0] for line in sent]
    assert messages == [b"Query", b"Parse", b"Bind", b"Describe", b"Execute", b"Sync", b"Query"]


async def test_an_error_inside_a_savepoint_undoes_the_savepoint_alone(pool, world, tenancy_on):
    async with tenancy_on(pool).transaction(world.acme) as conn:
        await conn.execute("INSERT INTO notes VALUES (2, 'kept')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            async with conn.transaction():
                await conn.execute("INSERT INTO notes VALUES (3, 'lost'), (1, 'taken')")
        seen = await (await conn.execute(SEEN)).fetchone()
        assert seen == (f"{world.acme.schema}, pg_temp", world.acme.schema, str(world.acme.id))
    assert world.notes(world.acme) == ["acme", "kept"]


async def test_a_swallowed_error_is_no_silent_rollback(pool, world, tenancy_on):
    async def work():
        async with tenancy_on(pool).transaction(world.acme) as conn:
            await conn.execute("INSERT INTO notes VALUES (2, 'lost')")
            with pytest.raises(psycopg.errors.UniqueViolation):
                await settled(await conn.execute("INSERT INTO notes VALUES (1, 'taken')"))

    with pytest.raises(psycopg.ProgrammingError, match="INERROR"):
        await work()
    assert world.notes(world.acme) == ["acme"]
    assert await state_at_checkout(pool) == DEFAULTS


async def test_a_constraint_that_fails_at_commit_is_raised(pool, world, tenancy_on):
    world.do(
        "ALTER TABLE {tenant}.notes ADD UNIQUE (body) DEFERRABLE INITIALLY DEFERRED",
        tenant=world.acme.schema,
    )
    with pytest.raises(psycopg.errors.UniqueViolation):
        async with tenancy_on(pool).transaction(world.acme) as conn:
            await conn.execute("INSERT INTO notes VALUES (2, 'acme')")
    assert world.notes(world.acme) == ["acme"]
    assert await state_at_checkout(pool) == DEFAULTS


@pytest.mark.parametrize("end", ["commit", "rollback"])
async def test_a_transaction_cannot_be_ended_by_its_connection(pool, world, end, tenancy_on):
    async with tenancy_on(pool).transaction(world.acme) as conn:
        await conn.execute("INSERT INTO notes VALUES (2, 'kept')")
        with pytest.raises(psycopg.ProgrammingError, match="forbidden"):
            await getattr(conn, end)()
        assert await bodies(conn) == ["acme", "kept"]
    assert world.notes(world.acme) == ["acme", "kept"]


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
async def test_what_follows_an_end_inside_the_scope_sees_no_tenant(pool, world, end, tenancy_on):
    async def ended():
        async with tenancy_on(pool).transaction(world.acme) as conn:
            await conn.execute(end)

    async def followed():
        async with tenancy_on(pool).transaction(world.acme) as conn:
            await conn.execute(end)
            await bodies(conn)

    with pytest.raises(psycopg.ProgrammingError, match="IDLE"):
        await ended()
    with pytest.raises(psycopg.errors.UndefinedTable):
        await followed()
    assert await state_at_checkout(pool) == DEFAULTS


async def test_set_without_local_does_not_outlive_the_transaction(pool, world, tenancy_on):
    async with tenancy_on(pool).transaction(world.acme) as conn:
        await conn.execute(_named("SET search_path TO {}", world.acme.schema))
        await conn.execute(_named("SET ROLE {}", world.acme.schema))
        await conn.execute("SET app.current_tenant_id TO 'kept'")
    assert await state_at_checkout(pool) == DEFAULTS


async def test_a_temporary_table_does_not_shadow_a_tenants_table(pool, world, tenancy_on):
    async with tenancy_on(pool).transaction(world.acme) as conn:
        await conn.execute("CREATE TEMP TABLE notes ON COMMIT DROP AS SELECT 1 id, 'fake' body")
        assert await bodies(conn) == ["acme"]


async def test_another_tenants_schema_is_out_of_reach(pool, world, tenancy_on):
    acme, globex = world.acme.schema, world.globex.schema
    for statement in (
        _named("SELECT * FROM {}.notes", globex),
        _named("INSERT INTO {}.notes VALUES (9, 'x')", globex),
        _named("CREATE TABLE {}.mine (id int)", globex),
        _named("CREATE TABLE {}.mine (id int)", acme),
        _named("ALTER TABLE {}.notes DISABLE ROW LEVEL SECURITY", acme),
        _named("SELECT * FROM public.tenants"),
        _named("SELECT * FROM public.tenant_registry"),
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with tenancy_on(pool).transaction(world.acme) as conn:
                await conn.execute(statement)
    assert world.notes(world.globex) == ["globex"]


async def test_a_forgotten_scope_fails_closed(pool, world, tenancy_on):
    async with tenancy_on(pool).transaction(world.acme):
        pass
    with pytest.raises(psycopg.errors.UndefinedTable):
        async with pool.connection() as conn:
            await conn.execute("SELECT * FROM notes")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with pool.connection() as conn:
            await conn.execute(_named("SELECT * FROM {}.notes", world.acme.schema))


async def test_without_a_tenant_there_is_no_transaction(pool, tenancy_on):
    with pytest.raises(MissingTenantContext):
        async with tenancy_on(pool).transaction():
            pytest.fail("entered")
    assert pool.get_stats().get("requests_num", 0) == 0


async def test_the_current_tenant_is_the_default_and_no_other_is_let_in(pool, world, tenancy_on):
    with tenant_scope(world.acme):
        async with tenancy_on(pool).transaction() as conn:
            assert await bodies(conn) == ["acme"]
        async with tenancy_on(pool).transaction(world.acme) as conn:
            assert await bodies(conn) == ["acme"]
        with pytest.raises(TenantContextConflict):
            async with tenancy_on(pool).transaction(world.globex):
                pytest.fail("entered")


async def test_an_id_is_enough_whatever_the_tenants_state(pool, world, tenancy_on):
    class Provisioned:
        id = world.globex.id

    async with tenancy_on(pool).transaction(Provisioned()) as conn:
        assert await bodies(conn) == ["globex"]
    assert "id" in Tenant.__dataclass_fields__


MISSING = {
    "schema": "DROP SCHEMA {tenant} CASCADE",
    "usage": "REVOKE USAGE ON SCHEMA {tenant} FROM {tenant}",
    "membership": "REVOKE {tenant} FROM {login}",
    "role": "DROP OWNED BY {tenant}; DROP ROLE {tenant}",
}


@pytest.mark.parametrize("gone", MISSING)
async def test_a_tenant_without_its_schema_or_role_is_missing_and_reads_nobodys_rows(
    pool, world, gone, tenancy_on
):
    world.do("CREATE TABLE public.notes AS SELECT 1 AS id, 'decoy' AS body")
    world.do("GRANT USAGE ON SCHEMA public TO PUBLIC; GRANT SELECT ON public.notes TO PUBLIC")
    world.do(MISSING[gone], tenant=world.acme.schema, login=world.login)

    async def read():
        async with tenancy_on(pool).transaction(world.acme) as conn:
            await bodies(conn)
            pytest.fail("read")

    with pytest.raises(TenantSchemaMissing, match=world.acme.schema):
        await read()
    assert await state_at_checkout(pool) == DEFAULTS
    async with tenancy_on(pool).transaction(world.globex) as conn:
        assert await bodies(conn) == ["globex"]


@pytest.mark.parametrize("autocommit", [True, False])
async def test_a_connection_goes_back_in_the_mode_in_which_it_came(world, autocommit, tenancy_on):
    options = {"autocommit": autocommit, "prepare_threshold": 3}
    async with AsyncConnectionPool(
        world.app, kwargs=options, min_size=1, max_size=1, open=False
    ) as pool:
        async with tenancy_on(pool).transaction(world.acme) as conn:
            assert conn.prepare_threshold is None
        async with pool.connection() as conn:
            assert (conn.autocommit, conn.prepare_threshold) == (autocommit, 3)
