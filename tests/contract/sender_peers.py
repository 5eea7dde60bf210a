"""The senders that the mail contract is checked against. A new one: a class and a line in PEERS."""

import email
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Protocol

import pytest

from controlplane.errors import ProviderUnavailable
from controlplane.ports import MailSender
from controlplane_emails.file import FileSender
from controlplane_emails.memory import Fault, MemorySender
from tests.ses import SesServer, ses_sender
from tests.smtp import MailServer


@dataclass(frozen=True)
class Received:
    """What a receiver sees of a mail, line ends aside."""

    message_id: str
    to: str
    subject: str
    text: str
    html: str


class Peer(Protocol):
    """A mailbox to test with, and the means to look into it and to disturb it."""

    @property
    def sender(self) -> MailSender: ...

    def received(self) -> list[Received]:
        """All that has arrived, in no order."""
        ...

    def cut_off(self) -> None:
        """Makes sending fail before anything is taken, until `restore`."""
        ...

    def restore(self) -> None: ...


class MemoryPeer:
    def __init__(self) -> None:
        self._mailbox = MemorySender()

    @property
    def sender(self) -> MailSender:
        return self._mailbox

    def received(self) -> list[Received]:
        return [
            Received(sent.message_id, sent.to, sent.subject, sent.text, sent.html)
            for sent in self._mailbox.sent
        ]

    def cut_off(self) -> None:
        self._mailbox.faults = [Fault(ProviderUnavailable("gone"))]

    def restore(self) -> None:
        self._mailbox.faults.clear()


class FilePeer:
    def __init__(self, folder: Path) -> None:
        self._outbox = folder / "outbox"
        self._sender = FileSender(self._outbox, sender="Control plane <no-reply@example.com>")

    @property
    def sender(self) -> MailSender:
        return self._sender

    def received(self) -> list[Received]:
        return [received(path.read_bytes()) for path in self._outbox.glob("*.eml")]

    def cut_off(self) -> None:
        if self._outbox.exists():
            self._outbox.rename(self._outbox.with_name("away"))
        self._outbox.write_text("a file where the folder was")

    def restore(self) -> None:
        self._outbox.unlink()
        if self._outbox.with_name("away").exists():
            self._outbox.with_name("away").rename(self._outbox)


class SesPeer:
    """What SES would have delivered; it gives no mail back, so moto's own list is looked at."""

    def __init__(self, server: SesServer) -> None:
        self._server = server
        self._server.wipe()
        self.sender: MailSender = server.sender

    def received(self) -> list[Received]:
        return [received(wire) for wire in self._server.sent()]

    def cut_off(self) -> None:
        self.sender = ses_sender("http://127.0.0.1:9")  # nothing listens on discard's port

    def restore(self) -> None:
        self.sender = self._server.sender


class SmtpPeer:
    """A mail server, by STARTTLS and with a login."""

    def __init__(self, server: MailServer) -> None:
        self._server = server
        self._server.mailbox.reset()
        self.sender: MailSender = server.sender()

    def received(self) -> list[Received]:
        return [received(wire) for wire in self._server.mailbox.wires()]

    def cut_off(self) -> None:
        self.sender = self._server.sender(port=9)  # nothing listens on discard's port

    def restore(self) -> None:
        self.sender = self._server.sender()


def received(wire: bytes) -> Received:
    """Reads a mail as its receiver's program does."""
    mail = email.message_from_bytes(wire, EmailMessage, policy=SMTP)
    return Received(
        mail["Message-ID"], mail["To"], mail["Subject"], _body(mail, "plain"), _body(mail, "html")
    )


def _body(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    assert part is not None
    content: str = part.get_content()
    return content.replace("\r\n", "\n")


PEERS: dict[str, Callable[[pytest.FixtureRequest, Path], Peer]] = {
    "memory": lambda _request, _folder: MemoryPeer(),
    "file": lambda _request, folder: FilePeer(folder),
    "ses": lambda request, _folder: SesPeer(request.getfixturevalue("ses")),
    "smtp": lambda request, _folder: SmtpPeer(request.getfixturevalue("smtp")),
}
