"""PgBouncer in transaction mode, for as long as a block lasts."""

import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from controlplane.embedded_site import ENVIRONMENT, identity

_PATIENCE_S = 60.0
# Below those that a system gives to whoever does not say which he wants (Linux, BSD and IANA): until
# PgBouncer listens, nobody gets it by chance.
_PORTS = range(20_000, 32_000)
_SETTINGS = {
    "listen_addr": "127.0.0.1",
    "unix_socket_dir": "",
    "auth_type": "scram-sha-256",
    "pool_mode": "transaction",
    "max_client_conn": "200",
    "ignore_startup_parameters": "extra_float_digits",
}


def found() -> str | None:
    """Where the program is; None where it is not installed."""
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")


def version(program: str) -> str:
    """As the program says it: `PgBouncer 1.18.0`."""
    said = subprocess.run(  # noqa: S603  a path and a constant
        [program, "--version"], capture_output=True, text=True, check=True, env=ENVIRONMENT
    )
    return said.stdout.splitlines()[0]


@contextmanager
def pgbouncer(
    url: str, *, program: str, connections: int = 1, more: Mapping[str, str] | None = None
) -> Iterator[str]:
    """A PgBouncer before the server and the login of `url`, with so many connections to it; gives
    the URL of the same database through it. `more` are settings of its own. Raises RuntimeError
    where it does not start."""
    to = {key: str(value) for key, value in conninfo_to_dict(url).items()}
    with tempfile.TemporaryDirectory(prefix="controlplane-pgbouncer-") as folder:
        port = _free_port()
        settings = {
            **_SETTINGS,
            "listen_port": str(port),
            "default_pool_size": str(connections),
            "auth_file": f"{folder}/users",
            **(more or {}),
        }
        user = _write(Path(folder), to, settings)
        with subprocess.Popen(  # noqa: S603  our own folder
            [program, "--quiet", f"{folder}/ini"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
            **identity(user),
        ) as running:
            try:
                _await(port, running)
                yield make_conninfo(url, host="127.0.0.1", port=port)
            finally:
                running.kill()


def _write(
    folder: Path, to: Mapping[str, str], settings: Mapping[str, str]
) -> pwd.struct_passwd | None:
    """The files of the folder; returns as whom to run, for it refuses to run as root."""
    server = f"host={to['host']} port={to['port']}"
    lines = [f"{name} = {value}" for name, value in settings.items()]
    ini = ["[databases]", f"{to['dbname']} = {server}", "[pgbouncer]", *lines, ""]
    (folder / "ini").write_text("\n".join(ini))
    (folder / "users").write_text(f'"{to["user"]}" "{to["password"]}"\n')
    if (owner := folder.stat()).st_uid != 0:
        return None
    user = pwd.getpwnam("nobody")
    for path in (folder, folder / "ini", folder / "users"):
        shutil.chown(path, user.pw_uid, user.pw_gid)
    assert owner.st_mode & 0o077 == 0  # noqa: S101  the password is nobody else's to read
    return user


def _free_port() -> int:
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _await(port: int, running: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while running.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)  # noqa: TID251  a test's set-up comes before there is an event loop
        else:
            return
    raise RuntimeError(f"PgBouncer did not start on port {port}: exit code {running.poll()}.")
