"""A PostgreSQL of the test's own dies and comes back, runs out of lock memory and of disk."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Literal

from controlplane import embedded, worker
from controlplane.embedded import Embedded
from controlplane.provisioning.crew import nowhere
from controlplane.store.logins import Logins
from tests.database import Database, Server, fresh_database
from tests.engine.faults import Failure
from tests.engine.lab import Lab, open_lab
from tests.engine.strangers import WAYS, in_a_hurry, stand_in_the_way
from tests.engine.test_lease import until
from tests.engine.world import assert_world, fingerprint

pytestmark = [pytest.mark.anyio]

# Of all databases of the own server: its roles are made with the first of them.
LOGINS = Logins.named("cp")
QUICK = {
    "CONTROLPLANE_WORKER_LEASE_S": "3",
    "CONTROLPLANE_WORKER_BEAT_S": "1",
    "CONTROLPLANE_WORKER_CALL_S": "2",
    "CONTROLPLANE_WORKER_POLL_S": "0.5",
}


@pytest.fixture(scope="module")
def own_server() -> Iterator[Embedded]:
    """Fast, but what it has committed outlives it."""
    with embedded.throwaway() as running:
        with psycopg.connect(running.superuser_url, autocommit=True) as conn:
            conn.execute("ALTER ROLE ALL SET synchronous_commit = on")
        yield running


@pytest.fixture
def own_database(own_server: Embedded) -> Iterator[Database]:
    server = Server(own_server.version, own_server.superuser_url, LOGINS)
    with fresh_database(server) as database:
        yield database


@pytest.fixture
async def lab(own_database: Database, tmp_path: Path) -> AsyncIterator[Lab]:
    async with watched_lab(own_database, tmp_path) as lab:
        yield lab


@asynccontextmanager
async def watched_lab(database: Database, folder: Path) -> AsyncIterator[Lab]:
    """With the bystander 'globex'; at the end the world is looked over, and the bystander."""
    async with open_lab(database, folder, more=QUICK) as lab:
        bystander = await lab.active("globex")
        before = await fingerprint(lab, bystander)
        yield lab
        await assert_world(lab)
        assert await fingerprint(lab, bystander) == before


def restart_at_once(running: Embedded) -> None:
    """Every process of the server ends without a word, and it recovers from its log."""
    site = running._site  # noqa: SLF001  what an operator would do; the module has no word for it
    done = site.run(
        "pg_ctl", "-D", site.cluster, "-m", "immediate", "-w", "-l", site.log, "restart"
    )
    assert done.returncode == 0, done.stdout + done.stderr


PLACES = (
    "step:schema:after-effect",
    "step:schema:after-commit",
    "step:dns:before-call",
    "step:dns:after-call",
    "step:activate:before-commit",
    "operation:provision:before-finish-commit",
)
PLACES_BACK = (
    "operation:provision:after-unwind",
    "undo:dns:after-call",
    "undo:schema:after-effect",
    "operation:provision:before-finish-commit",
)


@pytest.mark.parametrize(
    ("places", "ends"), [(PLACES, "succeeded"), (PLACES_BACK, "failed")], ids=["on", "back"]
)
async def test_an_operation_outlives_every_death_of_postgresql(lab, own_server, places, ends):
    left = list(places)
    if ends == "failed":
        lab.steps = Failure("activate", "ensure").wrap(lab.steps)

    async def die(place):
        if place in left:
            left.remove(place)
            await asyncio.to_thread(restart_at_once, own_server)

    lab.failpoint = die
    operation = await lab.settle(await lab.create("acme"))

    assert (left, operation.state) == ([], ends)
    (row,) = await lab.sql("SELECT epoch FROM public.operations WHERE id = :id", id=operation.id)
    assert row.epoch > 2, "some deaths came in the middle of a transaction"


@pytest.mark.parametrize(("places", "ends"), WAYS, ids=["on", "back"])
async def test_a_lock_on_the_servers_roles_that_a_stranger_holds_for_a_while_changes_nothing(
    own_database, tmp_path, places, ends
):
    """Here, for until he lets go nobody on the server can make a role."""
    roles = "LOCK TABLE pg_catalog.pg_authid IN SHARE MODE"
    async with open_lab(own_database, tmp_path) as lab, in_a_hurry(lab):
        with psycopg.connect(own_database.superuser_url) as stranger:
            await stand_in_the_way(lab, stranger, roles, places, ends)
        await assert_world(lab)


async def test_a_worker_reconnects_goes_on_and_hears_of_new_work_again(lab, own_server):
    stopping = asyncio.Event()
    running = asyncio.create_task(worker.run_worker(lab.parts, stopping))
    try:
        first = await lab.create("acme")
        await asyncio.to_thread(restart_at_once, own_server)
        await until_listening(lab)
        await until(lab, "finished_at IS NOT NULL", first.id)
        second = await lab.create("other")
        await until(lab, "finished_at IS NOT NULL", second.id)
        assert not running.done()
    finally:
        stopping.set()
        await asyncio.wait_for(running, 60)
    states = [(await lab.view(operation.id)).state for operation in (first, second)]
    assert states == ["succeeded", "succeeded"]


async def until_listening(lab: Lab) -> None:
    """Wait for the worker's LISTEN; a superuser alone sees what others said last."""
    query = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
    )
    async with asyncio.timeout(60):
        while True:
            url = lab.database.superuser_url
            async with await psycopg.AsyncConnection.connect(url) as conn:
                found = await (await conn.execute(query)).fetchone()
            if found is not None and found[0]:
                return
            await asyncio.sleep(0.05)


@contextmanager
def crowded(url: str) -> Iterator[Callable[[int, int], object]]:
    """A stranger holds all the server's lock memory, but for what it is asked to let go of."""
    with psycopg.connect(url, autocommit=True) as conn:
        with pytest.raises(psycopg.errors.OutOfMemory):
            conn.execute("SELECT pg_advisory_lock(7, generate_series(1, 10000000))")
        # Ranges, for the end of every transaction goes through all that its session holds.
        unlock = "SELECT pg_advisory_unlock(7, generate_series(%s::int, %s::int))"
        yield lambda first, last: conn.execute(unlock, [first, last])
        conn.execute("SELECT pg_advisory_unlock_all()")


@pytest.mark.parametrize("fails", [False, True], ids=["on", "back"])
async def test_a_server_without_memory_for_locks_never_leaves_a_half(lab, fails):
    """It fails further and further in, until the room is enough."""
    operation = await lab.create("acme")
    if fails:
        lab.steps = Failure("activate", "ensure").wrap(lab.steps)

        async def reached(place):
            if place == "operation:provision:after-unwind":
                raise asyncio.CancelledError

        lab.failpoint = reached
        with pytest.raises(asyncio.CancelledError):
            await lab.drive_once()
        lab.failpoint = nowhere
    with crowded(lab.database.superuser_url) as let_go_of:
        for first, last in pairwise((0, 40, 60, 90, 120)):
            let_go_of(first + 1, last)
            await lab.expire()
            await lab.drive_once()

    rows = await lab.sql(
        "SELECT data->'error'->>'detail' AS detail FROM public.operation_events"
        " WHERE operation_id = :id AND type = :type",
        id=operation.id,
        type="undo_failed" if fails else "step_failed",
    )
    assert any("OutOfMemory" in row.detail for row in rows)
    assert (await lab.settle(operation)).state == ("failed" if fails else "succeeded")


@pytest.fixture
def tiny_disk(own_server: Embedded) -> Iterator[Path]:
    """A file system of 256 KiB, on which the tablespace `tiny` lies."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts a file system")
    folder = Path(tempfile.mkdtemp(prefix="tiny-disk-"))
    run("mount", "-t", "tmpfs", "-o", "size=256k,mode=0755", "none", folder)
    try:
        with tablespace(own_server, folder / "tables"):
            yield folder
    finally:
        run("umount", folder)
        folder.rmdir()


@contextmanager
def tablespace(running: Embedded, place: Path) -> Iterator[None]:
    place.mkdir()
    cluster = running._site.cluster  # noqa: SLF001  its owner is the server's user
    shutil.chown(place, cluster.owner(), cluster.group())
    with psycopg.connect(running.superuser_url, autocommit=True) as conn:
        conn.execute(SQL("CREATE TABLESPACE tiny LOCATION {}").format(Literal(str(place))))
        conn.execute("GRANT CREATE ON TABLESPACE tiny TO PUBLIC")
        yield
        conn.execute("DROP TABLESPACE tiny")


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True)  # noqa: S603  root's own folder


@pytest.mark.requires("mount")
async def test_a_full_disk_is_waited_for_and_nothing_is_half_made(tiny_disk, lab):
    operation = await lab.create("acme")
    await put_new_tables_there(lab)
    await lab.drive_once()
    ((detail,),) = await lab.sql(
        "SELECT data->'error'->>'detail' FROM public.operation_events"
        " WHERE operation_id = :id AND type = 'step_failed'",
        id=operation.id,
    )
    assert "DiskFull" in detail
    await assert_world(lab)
    run("mount", "-o", "remount,size=64m", tiny_disk)
    assert (await lab.settle(operation)).state == "succeeded"


async def put_new_tables_there(lab: Lab) -> None:
    """In sessions from now on."""
    setting = SQL("ALTER DATABASE {} SET default_tablespace = 'tiny'")
    with psycopg.connect(lab.database.superuser_url, autocommit=True) as conn:
        conn.execute(setting.format(Identifier(lab.database.name)))
    await lab.parts.owner.dispose()
