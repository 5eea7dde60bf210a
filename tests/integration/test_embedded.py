"""The embedded PostgreSQL: what it lets in, what it survives and what it refuses."""

import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from controlplane import embedded
from controlplane.errors import EmbeddedPostgresError
from tests.integration.embedded_programs import (
    DIES_WITH_A_THROWAWAY,
    RUNS_ONCE_AS_NOBODY,
    STARTS_AND_DIES,
    run_python,
)

DEBIAN = Path("/usr/lib/postgresql/15/bin")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to drop its rights")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Below a folder that everybody may pass, which pytest's own is not when root runs it."""
    parent = Path(tempfile.mkdtemp(prefix="embedded-test-"))
    parent.chmod(0o711)
    yield parent / "postgres"
    shutil.rmtree(parent)


@pytest.fixture
def cluster(folder: Path) -> Path:
    return folder / "cluster"


def ask(url: str, query: str) -> object:
    with psycopg.connect(url, connect_timeout=10) as conn:
        row = conn.execute(query).fetchone()
    assert row is not None
    return row[0]


def remember(url: str) -> None:
    with psycopg.connect(url) as conn:
        conn.execute("CREATE TABLE kept AS SELECT 42 AS n")


def postmaster(cluster: Path) -> int:
    return int((cluster / "postmaster.pid").read_text().split()[0])


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        threading.Event().wait(0.02)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def copy_of_the_wheel(place: Path) -> Path:
    """Its bin folder; the libraries beside the package belong to it."""
    package = Path(embedded.binaries_of(18)).parents[1]
    for folder in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(folder, place / folder.name)
    return place / package.name / "pginstall18" / "bin"


@pytest.mark.parametrize(
    ("version", "binaries"),
    [
        (18, None),
        (16, None),
        pytest.param(15, DEBIAN, marks=pytest.mark.requires(str(DEBIAN / "postgres"))),
    ],
)
def test_each_version_starts_and_stops(version: int, binaries: Path | None) -> None:
    with embedded.throwaway(version, binaries=binaries) as running:
        number = ask(running.superuser_url, "SELECT current_setting('server_version_num')")
        assert str(number).startswith(str(version))
        assert ask(running.superuser_url, "SELECT current_setting('fsync')") == "off"
    assert not listens(running.port)
    assert not running.data.exists()


def test_only_the_right_password_opens_the_server() -> None:
    with embedded.throwaway() as running:
        nobodys = f"postgresql://postgres@127.0.0.1:{running.port}/postgres"
        guessed = f"postgresql://postgres:guess@127.0.0.1:{running.port}/postgres"
        for url in (nobodys, guessed):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(url, passfile=os.devnull)
        stored = ask(running.superuser_url, "SELECT rolpassword FROM pg_authid WHERE oid = 10")
        assert str(stored).startswith("SCRAM-SHA-256$")


def test_the_server_listens_on_loopback_alone() -> None:
    with embedded.throwaway() as running:
        listening = "SELECT current_setting('listen_addresses')"
        assert ask(running.superuser_url, listening) == "127.0.0.1"
        sockets = "SELECT current_setting('unix_socket_directories')"
        assert ask(running.superuser_url, sockets) == ""


def test_the_password_is_kept_from_other_people_and_from_logs() -> None:
    with embedded.throwaway() as running:
        file = running.data / "password"
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.read_text() in running.superuser_url
        assert file.read_text() not in repr(running)


def test_a_stopped_server_has_its_rows_when_it_starts_again(folder: Path) -> None:
    first = embedded.start(folder)
    remember(first.superuser_url)
    assert ask(first.superuser_url, "SELECT current_setting('fsync')") == "on"
    embedded.stop(first)
    second = embedded.start(folder)
    assert ask(second.superuser_url, "SELECT n FROM kept") == 42
    embedded.stop(second)


def test_a_killed_server_starts_again_on_its_folder(folder: Path, cluster: Path) -> None:
    first = embedded.start(folder)
    remember(first.superuser_url)
    os.kill(postmaster(cluster), signal.SIGKILL)
    embedded.stop(first)
    assert (cluster / "postmaster.pid").exists()
    second = embedded.start(folder)
    assert ask(second.superuser_url, "SELECT n FROM kept") == 42
    embedded.stop(second)


def test_a_server_whose_starter_was_killed_is_taken_over(folder: Path, cluster: Path) -> None:
    done = run_python(STARTS_AND_DIES, folder)
    assert done.returncode == -signal.SIGKILL
    forgotten = postmaster(cluster)
    os.kill(forgotten, 0)
    running = embedded.start(folder)
    assert postmaster(cluster) != forgotten
    assert ask(running.superuser_url, "SELECT n FROM kept") == 42
    embedded.stop(running)


def test_a_folder_in_use_is_refused(folder: Path) -> None:
    running = embedded.start(folder, durable=False)
    with pytest.raises(EmbeddedPostgresError, match="Another process uses"):
        embedded.start(folder)
    assert ask(running.superuser_url, "SELECT 1") == 1
    embedded.stop(running)


@pytest.mark.parametrize(("made", "opened"), [(16, 18), (18, 16)])
def test_a_folder_of_another_major_version_is_refused(folder: Path, made: int, opened: int) -> None:
    first = embedded.start(folder, version=made, durable=False)
    remember(first.superuser_url)
    embedded.stop(first)
    with pytest.raises(
        EmbeddedPostgresError, match=f"made by PostgreSQL {made}.*PostgreSQL {opened}.*pg_dumpall"
    ):
        embedded.start(folder, version=opened)
    again = embedded.start(folder, version=made, durable=False)
    assert ask(again.superuser_url, "SELECT n FROM kept") == 42
    embedded.stop(again)


def test_a_folder_with_other_files_is_refused_and_left_alone(folder: Path) -> None:
    folder.mkdir()
    (folder / "letter.txt").write_text("Dear Ada")
    with pytest.raises(EmbeddedPostgresError, match="holds other files"):
        embedded.start(folder)
    assert [path.name for path in folder.iterdir()] == ["letter.txt"]


def test_a_half_made_cluster_is_made_anew(folder: Path) -> None:
    (folder / "initialising").mkdir(parents=True)
    (folder / "initialising" / "PG_VERSION").write_text("18\n")
    running = embedded.start(folder, durable=False)
    assert ask(running.superuser_url, "SELECT 1") == 1
    embedded.stop(running)


def test_an_unknown_version_is_refused(folder: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match="no embedded PostgreSQL 9; choose 18 or 16"):
        embedded.start(folder, version=9)


def test_a_taken_port_is_named(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(EmbeddedPostgresError, match="Address already in use"):
            embedded.start(folder, port=taken.getsockname()[1], durable=False)


def test_stopping_twice_is_fine(folder: Path) -> None:
    running = embedded.start(folder, durable=False)
    embedded.stop(running)
    embedded.stop(running)
    assert not listens(running.port)


@pytest.mark.parametrize("fatal", ["SIGKILL", "SIGTERM"])
def test_a_throwaway_goes_when_its_process_is_killed(fatal: str) -> None:
    done = run_python(DIES_WITH_A_THROWAWAY.replace("SIGNAL", fatal))
    assert done.returncode == -signal.Signals[fatal]
    port, data = done.stdout.split()
    eventually(lambda: not listens(int(port)), "the server still answers")
    cluster = Path(data) / "cluster"
    eventually(lambda: not cluster.exists() or not any(cluster.iterdir()), "its files are there")
    shutil.rmtree(data, ignore_errors=True)


@as_root
def test_an_ordinary_user_needs_nothing_special(folder: Path) -> None:
    binaries = copy_of_the_wheel(folder.parent)
    shutil.chown(folder.parent, "nobody")
    done = run_python(RUNS_ONCE_AS_NOBODY, folder, binaries)
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / "cluster").owner() == "nobody"


@as_root
def test_root_runs_the_server_as_somebody_else(folder: Path) -> None:
    running = embedded.start(folder, durable=False)
    assert Path(f"/proc/{postmaster(folder / 'cluster')}").owner() == "nobody"
    embedded.stop(running)


@as_root
def test_a_folder_that_only_root_can_reach_works_too(folder: Path) -> None:
    folder.parent.chmod(0o700)
    first = embedded.start(folder)
    remember(first.superuser_url)
    embedded.stop(first)
    second = embedded.start(folder)
    assert ask(second.superuser_url, "SELECT n FROM kept") == 42
    embedded.stop(second)
    shutil.rmtree((folder / "elsewhere").resolve(strict=True))


@as_root
def test_a_lost_cluster_is_not_replaced_by_an_empty_one(folder: Path) -> None:
    folder.parent.chmod(0o700)
    embedded.stop(embedded.start(folder, durable=False))
    shutil.rmtree((folder / "elsewhere").resolve(strict=True))
    with pytest.raises(EmbeddedPostgresError, match="No such file"):
        embedded.start(folder)


@as_root
def test_binaries_that_only_root_can_reach_work_too(folder: Path) -> None:
    hidden = folder.parent / "hidden"
    binaries = copy_of_the_wheel(hidden)
    hidden.chmod(0o700)
    running = embedded.start(folder, durable=False, binaries=binaries)
    assert ask(running.superuser_url, "SELECT 1") == 1
    embedded.stop(running)
