"""The data folder of `dev` and `demo`: what lies where in it, and which process holds it."""

import contextlib
import fcntl
import json
import os
import secrets
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.errors import StartupError

_KEYS = ("CONTROLPLANE_TENANT_TOKEN_KEY", "CONTROLPLANE_SECRETS_KEY")


@dataclass(frozen=True)
class Folder:
    """Every path in it is absolute."""

    path: Path

    @property
    def postgres(self) -> Path:
        return self.path / "postgres"

    @property
    def logins(self) -> Path:
        return self.path / "logins.json"

    @property
    def keys(self) -> Path:
        return self.path / "keys.json"

    @property
    def zone(self) -> Path:
        return self.path / "zone" / "localhost.zone"

    @property
    def outbox(self) -> Path:
        return self.path / "outbox"

    @property
    def settings(self) -> Path:
        return self.path / "settings.env"

    @property
    def worker_pid(self) -> Path:
        return self.path / "worker.pid"


@contextlib.contextmanager
def held(path: Path) -> Iterator[Folder]:
    """The folder, made where it is missing, for this process alone until the end.

    The kernel lets go of it when the process ends, however it ends. Raises StartupError.
    """
    folder = Folder(path.absolute())
    try:
        folder.path.mkdir(mode=0o711, parents=True, exist_ok=True)
        folder.zone.parent.mkdir(exist_ok=True)
        folder.outbox.mkdir(mode=0o700, exist_ok=True)
        lock = (folder.path / "lock").open("ab")
    except OSError as error:
        raise StartupError(f"The folder '{path}' cannot be used ({error.strerror}).") from error
    with lock:
        _take(lock.fileno(), folder.path)
        yield folder


def _take(lock: int, path: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StartupError(
            f"Another process uses the folder '{path}'; stop it first, or name another folder."
        ) from None


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write the file whole or not at all, readable by its owner alone, for it holds secrets."""
    write_secret(path, f"{json.dumps(content, indent=2)}\n")


def kept_keys(folder: Folder) -> dict[str, str]:
    """The keys of this control plane, as variables: made at the first start, and kept."""
    try:
        kept: dict[str, str] = json.loads(folder.keys.read_text(encoding="utf-8"))
    except FileNotFoundError:
        kept = {}
    keys = {name: kept.get(name) or secrets.token_urlsafe(32) for name in _KEYS}
    if keys != kept:
        write_json(folder.keys, keys)
    return keys


def write_settings(path: Path, variables: Mapping[str, str]) -> None:
    """Write the variables so that a shell can read them: `set -a; . settings.env`."""
    lines = [f"{name}={shlex.quote(value)}\n" for name, value in sorted(variables.items())]
    write_secret(path, "".join(lines))


def write_secret(path: Path, content: str) -> None:
    """Write the file whole or not at all, readable by its owner alone."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with open(draft, "x", encoding="utf-8", opener=_private) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
