"""Debian's PgBouncer 1.18 in transaction mode, with one connection to the server for everybody."""

import asyncio
import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from controlplane.errors import TenantSchemaMissing
from controlplane.routing import SyncTenancy, Tenancy
from tests.name_servers import free_port

pytestmark = [pytest.mark.anyio, pytest.mark.requires("pgbouncer")]

SEEN = (
    "SELECT current_setting('search_path'), current_user,"
    " coalesce(current_setting('app.current_tenant_id', true), '')"
)
CONFIG = """
[databases]
{database} = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = 1
"""


@pytest.fixture
def bouncer(world):
    """The app's conninfo through PgBouncer; what it lent is as it was, whatever a test did."""
    server = conninfo_to_dict(world.app)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pgbouncer-")))
        folder.chmod(0o755)
        listen = free_port()
        names = {"database": server["dbname"], "host": server["host"], "port": server["port"]}
        config = folder / "pgbouncer.ini"
        config.write_text(CONFIG.format(**names, listen=listen, folder=folder))
        (folder / "users").write_text(f'"{server["user"]}" "{server["password"]}"\n')
        program = shutil.which("pgbouncer", path=f"{os.defpath}:/usr/sbin") or "pgbouncer"
        user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None  # it refuses root
        process = subprocess.Popen(  # noqa: S603  our own configuration
            [program, "--quiet", str(config)], user=user, stderr=subprocess.DEVNULL
        )
        stack.callback(process.wait)
        stack.callback(process.kill)
        conninfo = make_conninfo(world.app, host="127.0.0.1", port=listen)
        _await(conninfo, process)
        yield conninfo
        with psycopg.connect(conninfo, autocommit=True, prepare_threshold=None) as conn:
            assert conn.execute(SEEN).fetchone() == ('"$user", public', world.login, "")


def _await(conninfo, process):
    while process.poll() is None:
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(conninfo):
            return
    pytest.fail(f"PgBouncer ended: {process.returncode}")


async def _request(tenancy, tenant, number):
    """One of many ways to end; returns what it saw."""
    async with tenancy.transaction(tenant) as conn:
        rows = await (await conn.execute("SELECT body FROM notes WHERE id = 1")).fetchall()
        await conn.execute("UPDATE notes SET body = body WHERE id = %s", [number])
        if number % 5 == 1:
            raise RuntimeError(rows)
        if number % 5 == 2:
            async with conn.transaction(force_rollback=True):
                await conn.execute("DELETE FROM notes")
        if number % 5 == 3:
            await conn.execute("INSERT INTO notes VALUES (1, 'taken')")
        if number % 5 == 4:
            (asyncio.current_task() or pytest.fail("no task")).cancel()
            await asyncio.sleep(0)
        return rows


@pytest.mark.parametrize("pipelined", [True, False])
async def test_clients_of_two_tenants_never_see_each_others_rows(world, bouncer, pipelined):
    async def client(pool, first):
        tenancy = Tenancy(pool, pipelined=pipelined)
        for number in range(60):
            tenant = (world.acme, world.globex)[(first + number) % 2]
            request = asyncio.create_task(_request(tenancy, tenant, number))
            ended = (await asyncio.gather(request, return_exceptions=True))[0]
            seen = ended.args[0] if isinstance(ended, RuntimeError) else ended
            allowed = (psycopg.errors.UniqueViolation, asyncio.CancelledError)
            assert seen == [(tenant.subdomain,)] or isinstance(ended, allowed), ended
            ways.add(type(ended))

    ways: set[type] = set()
    pooled = AsyncConnectionPool(bouncer, min_size=3, open=False)
    async with pooled as pool, asyncio.TaskGroup() as clients:
        for first in range(3):
            clients.create_task(client(pool, first))
    assert len(ways) == 4
    assert (world.notes(world.acme), world.notes(world.globex)) == (["acme"], ["globex"])


async def test_a_missing_schema_is_missing_here_too(world, bouncer):
    async def write():
        async with Tenancy(pool).transaction(world.acme) as conn:
            await conn.execute("INSERT INTO notes VALUES (2, 'lost')")

    world.do("REVOKE USAGE ON SCHEMA {tenant} FROM {tenant}", tenant=world.acme.schema)
    async with AsyncConnectionPool(bouncer, min_size=1, open=False) as pool:
        with pytest.raises(TenantSchemaMissing):
            await write()
    assert world.notes(world.acme) == ["acme"]


def test_threads_and_batches_pass_through_it(world, bouncer):
    with ConnectionPool(bouncer, min_size=1, open=False) as pool:
        tenancy = SyncTenancy(pool)
        for tenant in (world.acme, world.globex, world.acme):
            (answer,) = tenancy.run([("SELECT body FROM notes", None)], tenant=tenant)
            assert answer.rows == [(tenant.subdomain,)]
