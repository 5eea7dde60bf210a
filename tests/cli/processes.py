"""Commands as processes, the way users start them."""

import json
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from controlplane.settings import child_environment

PATIENCE_S = 120
# A lease as short as it can be, so that another worker takes over soon.
IMPATIENT = {"CONTROLPLANE_WORKER_LEASE_S": "3", "CONTROLPLANE_WORKER_BEAT_S": "1"}

# Where no resolver listens: nobody outside is asked about tenants' own domains.
OFFLINE = {"CONTROLPLANE_DOMAIN_NAMESERVERS": "127.0.0.1:9"}


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        threading.Event().wait(0.05)


def run(
    *arguments: str | Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A command to its end; what it printed."""
    return subprocess.run(  # noqa: S603  our own program
        [sys.executable, "-m", "controlplane", *map(str, arguments)],
        env=child_environment(environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Any
    body: Any


class Dev:
    """`controlplane dev` on a folder; `ready` is what its ready file says."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self._file = folder.with_name(f"{folder.name}.ready.json")
        self._file.unlink(missing_ok=True)
        command = ["dev", "--port=0", f"--data-dir={folder}", f"--ready-file={self._file}"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603  our own program
                [sys.executable, "-m", "controlplane", *command, *options],
                env=child_environment({**IMPATIENT, **OFFLINE}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        eventually(lambda: self._file.exists() or self.process.poll() is not None, "no ready file")
        assert self.process.poll() is None, self.log.read_text()
        self.ready: dict[str, Any] = json.loads(self._file.read_text())

    @property
    def log(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.log")

    @property
    def is_announced(self) -> bool:
        return self._file.exists()

    @property
    def worker(self) -> int:
        return int((self.folder / "worker.pid").read_text())

    def call(self, method: str, path: str, body: Any = None, *, host: str = "") -> Answer:
        """As curl sends it: JSON under whatever content type curl invents."""
        request = urllib.request.Request(  # noqa: S310  the address is dev's own
            self.ready["url"] + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Host": host}
            if host
            else {"Authorization": f"Bearer {self.ready['admin_token']}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as got:  # noqa: S310
                return Answer(got.status, got.headers, json.load(got))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, json.load(error))

    def create(self, name: str) -> Answer:
        body = {"name": name, "subdomain": name.lower(), "admin_email": f"ada@{name}.test"}
        return self.call("POST", "/api/admin/tenants", body)

    def ended(self, operation: Any) -> Any:
        """The operation once nothing more will happen to it."""
        path = f"/api/admin/operations/{operation['id']}"
        at_rest = {"succeeded", "failed", "cancelled", "parked"}
        eventually(lambda: self.call("GET", path).body["state"] in at_rest, "it does not end")
        return self.call("GET", path).body

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """As the superuser."""
        with psycopg.connect(self.ready["database_url"]) as conn:
            return conn.execute(sql).fetchall()

    def stop(self) -> int:
        """Its exit code, after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)
