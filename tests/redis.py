"""A real Redis for as long as a block lasts, which a test may stop, freeze and start again."""

import contextlib
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field

from controlplane.embedded_site import ENVIRONMENT

_ATTEMPTS = 5
# Below those for whoever does not say which he wants (Linux, BSD and IANA).
_PORTS = range(20_000, 32_000)
# A busy machine is no reason to give Redis up, where a test is about something else.
PATIENT = {"timeout_s": 30.0, "pause_s": 0.0}
HASTY = {"timeout_s": 0.05, "pause_s": 0.0}


@dataclass
class RedisServer:
    """Empty at every start. `url` stays the same; it holds a password."""

    port: int
    folder: str
    password: str = field(repr=False)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        return f"unix://:{self.password}@{self.folder}/socket?db=0"

    def start(self) -> None:
        """Returns when it answers. Raises RuntimeError where it cannot start."""
        program = shutil.which("redis-server")
        assert program is not None
        self._process = process = subprocess.Popen(  # noqa: S603  our own folder
            [
                *(program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder),
                *("--unixsocket", f"{self.folder}/socket", "--requirepass", self.password),
                *("--save", "", "--appendonly", "no", "--databases", "2"),
            ],
            stdout=subprocess.PIPE,
            env=ENVIRONMENT,
        )
        assert process.stdout is not None
        with process.stdout as told:
            if not any(b"eady to accept" in line for line in told):
                process.wait()
                raise RuntimeError(f"Redis did not start: exit code {process.returncode}.")

    def stop(self) -> None:
        """At once: what it holds is lost and every connection breaks."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Connections stay open, and nothing is answered until `thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@contextlib.contextmanager
def running_redis() -> Iterator[RedisServer]:
    """Takes a free port of loopback, and another one where somebody was faster: one that no system
    gives away by itself, or somebody else might have it while the server is stopped for a moment."""
    with tempfile.TemporaryDirectory(prefix="controlplane-redis-") as folder:
        server = _started(folder)
        try:
            yield server
        finally:
            server.stop()


def _started(folder: str) -> RedisServer:
    for attempt in range(1, _ATTEMPTS + 1):
        server = RedisServer(_free_port(), folder, secrets.token_urlsafe(16))
        try:
            server.start()
        except RuntimeError:
            if attempt == _ATTEMPTS:
                raise
        else:
            return server
    raise AssertionError("BUG: an attempt ends")


def _free_port() -> int:
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
