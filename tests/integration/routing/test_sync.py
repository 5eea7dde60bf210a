"""The same promises, kept by threads."""

import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg_pool import ConnectionPool

from controlplane.errors import (
    MissingTenantContext,
    TenantBusy,
    TenantContextConflict,
    TenantSchemaMissing,
)
from controlplane.routing import SyncBulkhead, SyncTenancy, tenant_scope

pytestmark = pytest.mark.database_near

SEEN = (
    "SELECT current_setting('search_path'), current_user,"
    " coalesce(current_setting('app.current_tenant_id', true), '')"
)


@pytest.fixture
def one(world):
    """One connection; afterwards it is as it was at first."""
    with ConnectionPool(world.app, min_size=1, max_size=1, open=False) as pool:
        yield pool
        with pool.connection() as conn:
            assert conn.info.transaction_status == TransactionStatus.IDLE
            assert conn.info.pipeline_status == PipelineStatus.OFF
            assert (conn.autocommit, conn.prepare_threshold) == (False, 5)
            assert conn.execute(SEEN).fetchone() == ('"$user", public', world.login, "")


@pytest.fixture(params=[True, False], ids=["pipelined", "plain"])
def tenancy(request, one):
    return SyncTenancy(one, pipelined=request.param)


def _bodies(conn):
    return [body for (body,) in conn.execute("SELECT body FROM notes ORDER BY id").fetchall()]


def test_each_tenant_sees_its_own_and_what_it_did_is_kept(world, tenancy):
    for tenant in (world.acme, world.globex):
        with tenant_scope(tenant), tenancy.transaction() as conn:
            seen = (f"{tenant.schema}, pg_temp", tenant.schema, str(tenant.id))
            assert conn.execute(SEEN).fetchone() == seen
            assert conn.execute("UPDATE notes SET body = body || '!'").rowcount == 1
            assert conn.execute("DELETE FROM notes WHERE id = 9").statusmessage == "DELETE 0"
            with conn.transaction(force_rollback=True):
                conn.execute("DELETE FROM notes")
            assert _bodies(conn) == [f"{tenant.subdomain}!"]
    assert (world.notes(world.acme), world.notes(world.globex)) == (["acme!"], ["globex!"])


def test_what_fails_is_undone(world, tenancy):
    def boom():
        with tenancy.transaction(world.acme) as conn:
            conn.execute("DELETE FROM notes")
            raise RuntimeError("boom")

    def taken():
        with tenancy.transaction(world.acme) as conn:
            conn.execute("INSERT INTO notes VALUES (2, 'lost')")
            conn.execute("INSERT INTO notes VALUES (1, 'taken')")

    def swallowed():
        with tenancy.transaction(world.acme) as conn:
            conn.execute("DELETE FROM notes")
            with pytest.raises(psycopg.errors.DivisionByZero):
                conn.execute("SELECT 1 / 0").fetchone()

    for work, error in (
        (boom, RuntimeError),
        (taken, psycopg.errors.UniqueViolation),
        (swallowed, psycopg.ProgrammingError),
    ):
        with pytest.raises(error):
            work()
        assert world.notes(world.acme) == ["acme"]


def test_without_its_schema_a_tenant_reads_nothing(world, tenancy):
    def read():
        with tenancy.transaction(world.acme) as conn:
            _bodies(conn)
            pytest.fail("read")

    world.do("REVOKE USAGE ON SCHEMA {tenant} FROM {tenant}", tenant=world.acme.schema)
    with pytest.raises(TenantSchemaMissing, match=world.acme.schema):
        read()
    with pytest.raises(MissingTenantContext), tenancy.transaction():
        pytest.fail("entered")
    with (
        tenant_scope(world.globex),
        pytest.raises(TenantContextConflict),
        tenancy.transaction(world.acme),
    ):
        pytest.fail("entered")


def test_a_lost_connection_is_replaced(world, tenancy):
    def lost():
        with tenancy.transaction(world.acme) as conn:
            conn.execute("SELECT 1").fetchone()
            world.disconnect()
            conn.execute("DELETE FROM notes")

    with pytest.raises(psycopg.OperationalError):
        lost()
    with tenancy.transaction(world.acme) as conn:
        assert _bodies(conn) == ["acme"]


def test_a_copy_left_in_its_midst_costs_the_connection(world, one):
    def work():
        with SyncTenancy(one, pipelined=False).transaction(world.acme) as conn:
            copying = conn.cursor().copy("COPY notes TO STDOUT")
            copying.__enter__()
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        work()


def test_a_batch_is_one_transaction(world, one):
    answers = SyncTenancy(one).run(
        [("SELECT body FROM notes", None), ("INSERT INTO notes VALUES (%s, 'two')", [2])],
        tenant=world.acme,
    )
    assert [(answer.rows, answer.count) for answer in answers] == [([("acme",)], 1), ([], 1)]
    assert world.notes(world.acme) == ["acme", "two"]


def test_threads_of_two_tenants_share_one_connection(world, tenancy):
    def ask(number):
        tenant = (world.acme, world.globex)[number % 2]
        with tenancy.transaction(tenant) as conn:
            seen = _bodies(conn)
            conn.execute("UPDATE notes SET body = body")
        return seen == [tenant.subdomain]

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(ask, range(200)))


def test_a_tenant_above_its_share_is_told_and_others_go_on(world):
    inside, leave = threading.Barrier(2), threading.Event()

    def hold(tenancy):
        with tenancy.transaction(world.acme):
            inside.wait()
            leave.wait()

    with ConnectionPool(world.app, min_size=2, open=False) as pool, ThreadPoolExecutor(1) as one:
        tenancy = SyncTenancy(pool, bulkhead=SyncBulkhead(1, waiting=1, wait_s=0.01))
        held = one.submit(hold, tenancy)
        inside.wait()
        with pytest.raises(TenantBusy), tenancy.transaction(world.acme):
            pytest.fail("entered")
        with tenancy.transaction(world.globex) as conn:
            assert _bodies(conn) == ["globex"]
        leave.set()
        held.result()
        with tenancy.transaction(world.acme) as conn:
            assert _bodies(conn) == ["acme"]
