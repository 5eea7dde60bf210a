"""Mail into a folder, one file each, for development and for looking at."""

import asyncio
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from uuid import uuid4

from controlplane.domain.mail import Message
from controlplane.errors import ProviderUnavailable, SendUncertain
from controlplane_emails.mime import compose, parse_sender

_UNFIT_FOR_A_NAME = re.compile(r"[^A-Za-z0-9@.-]+")
_LONGEST_STEM = 100


class FileSender:
    """Writes `<id>.eml`; a repeat of the same Message-ID is `<id>-2.eml`, and so on.

    The folder is made where only it is missing, readable by its owner alone: mail holds one-time
    links.
    """

    def __init__(self, folder: Path, *, sender: str) -> None:
        """Raises SettingsInvalid for a sender that is no address."""
        self._folder = folder
        self._sender = parse_sender(sender)

    async def send(self, message: Message) -> str:
        """Returns the file's name."""
        mail = compose(message, sender=self._sender, date=datetime.now(UTC))
        return await asyncio.to_thread(self._deliver, _stem(message), mail.as_bytes())

    def _deliver(self, stem: str, content: bytes) -> str:
        draft = self._folder / f".{uuid4().hex}.tmp"
        try:
            with self._explained():
                self._folder.mkdir(mode=0o700, exist_ok=True)
                _write(draft, content)
                name = _publish(draft, stem)
        finally:
            with suppress(OSError):
                draft.unlink()
        self._sync(name)
        return name

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise ProviderUnavailable(
                f"The outbox {self._folder} cannot be used: {exc.strerror}. Check its owner, "
                "mode and free space."
            ) from exc

    def _sync(self, name: str) -> None:
        try:
            fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as exc:
            raise SendUncertain(f"{name} is written but may not survive a power cut.") from exc


def _write(draft: Path, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _publish(draft: Path, stem: str) -> str:
    """Gives the draft the first free name. A link, unlike a rename, never replaces a file."""
    for number in count(1):
        name = f"{stem}.eml" if number == 1 else f"{stem}-{number}.eml"
        with suppress(FileExistsError):
            (draft.parent / name).hardlink_to(draft)
            return name
    raise AssertionError


def _stem(message: Message) -> str:
    # Never hidden and never a path, whatever the id holds.
    return _UNFIT_FOR_A_NAME.sub("_", message.message_id.strip("<>")).lstrip(".")[:_LONGEST_STEM]
