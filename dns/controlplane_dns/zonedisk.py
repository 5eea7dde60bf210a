"""A file that several processes change one after the other, whole or not at all. Blocking."""

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from controlplane.errors import ProviderUnavailable

_PATIENCE_S = 5.0


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns what the file system refuses into ProviderUnavailable."""
    try:
        yield
    except OSError as exc:
        raise ProviderUnavailable(
            f"The zone file {path} cannot be used: {exc.strerror}. Check its folder's owner, "
            "mode and free space."
        ) from exc


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock of the file, a sibling that is never removed; waits for other processes.

    Raises ProviderUnavailable after `_PATIENCE_S`: a thread must not wait for ever.
    """
    fd = os.open(f"{path}.lock", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _lock(fd, path)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, path: Path) -> None:
    give_up = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up:
                raise ProviderUnavailable(f"Another process holds the lock of {path}.") from None
            time.sleep(0.01)  # noqa: TID251  in a thread of its own
        else:
            return


def content(path: Path) -> bytes | None:
    """The file's bytes, or None if its folder has no such file."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        path.parent.stat()
        return None


def replace(path: Path, new: bytes) -> None:
    """Puts the bytes in the file's place, durably; owner and mode stay. Needs the lock."""
    # One name, so that what a killed process left behind is overwritten by the next one.
    draft = path.with_name(f".{path.name}.tmp")
    try:
        _write(draft, new, like=path)
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise
    _sync_folder(path.parent)


def _write(draft: Path, new: bytes, *, like: Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(draft, flags, 0o644), "wb") as file:
        file.write(new)
        file.flush()
        with suppress(FileNotFoundError):
            _dress(file.fileno(), like.stat())
        os.fsync(file.fileno())


def _dress(fd: int, like: os.stat_result) -> None:
    # A name server often reads the file by its group; only root may give a file away.
    with suppress(PermissionError):
        os.fchown(fd, like.st_uid, like.st_gid)
    os.fchmod(fd, stat.S_IMODE(like.st_mode))


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
