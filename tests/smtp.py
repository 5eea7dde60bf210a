"""A mail server on loopback for as long as a block lasts: aiosmtpd, over a real socket.

It offers STARTTLS and, behind it, a login; it keeps what it takes, and answers as it is told to.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from anyio.from_thread import start_blocking_portal
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from controlplane_emails.smtp import SmtpSender
from controlplane_emails.smtp_server import SmtpServer

SENDER = "no-reply@example.com"
USER, PASSWORD = "apps", "s3cret-owl-of-smtp"


@dataclass
class Mailbox:
    """What was taken, and the answers that come in the place of the usual ones, by command.

    GREETING and END (of the mail) count as commands; `unoffered` is left out of EHLO's answer. A `silent` one never answers a mail; `when_silent` is
    called then.
    """

    sent: list[Envelope] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    unoffered: tuple[str, ...] = ()
    silent: bool = False
    when_silent: Callable[[], object] = field(default=lambda: None)

    def wires(self) -> list[bytes]:
        """Every mail as it was handed over, oldest first."""
        contents = [mail.original_content for mail in self.sent]
        return [content for content in contents if content is not None]

    def reset(self) -> None:
        self.sent.clear()
        self.logins.clear()
        self.answers.clear()
        self.unoffered, self.silent = (), False
        self.when_silent = lambda: None

    async def handle_EHLO(  # noqa: N802  aiosmtpd's name
        self, _server: SMTP, session: Session, _envelope: Envelope, name: str, lines: list[str]
    ) -> list[str]:
        session.host_name = name
        return [line for line in lines if not line[4:].startswith(self.unoffered or "\0")]

    async def handle_DATA(  # noqa: N802  aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        if self.silent:
            self.when_silent()
            await asyncio.Event().wait()  # until the connection ends
        if "END" in self.answers:
            return self.answers["END"]
        self.sent.append(envelope)
        return f"250 2.0.0 Ok: queued as 4XyZ{len(self.sent)}"

    def login(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, given: object
    ) -> AuthResult:
        assert isinstance(given, LoginPassword)
        good = (given.login, given.password) == (USER.encode(), PASSWORD.encode())
        self.logins += [given.login.decode()] if good else []
        return AuthResult(success=good, handled=False)


class _Told(SMTP):
    """Answers as the mailbox says."""

    async def push(self, status: Any) -> None:
        told = self.event_handler.answers.get("GREETING")
        await super().push(told if told and " ESMTP" in str(status) else status)

    def _unless_told(self, command: str, usual: Any) -> Any:
        async def answer(argument: str) -> None:
            told = self.event_handler.answers.get(command)
            await (usual(argument) if told is None else self.push(told))

        return answer

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, ident="ESMTP", **options)
        for command, usual in self._smtp_methods.items():
            self._smtp_methods[command] = self._unless_told(command, usual)


@dataclass(frozen=True)
class MailServer:
    """`port` speaks plainly and offers STARTTLS, `tls_port` begins with TLS."""

    mailbox: Mailbox
    port: int
    tls_port: int
    ca_file: Path

    def sender(self, **changes: Any) -> SmtpSender:
        """By STARTTLS and with a login, unless the changes say else."""
        timeout_s = changes.pop("timeout_s", 60)
        terms = {
            "host": "localhost",
            "port": self.port,
            "user": USER,
            "password": PASSWORD,
            "ca_file": self.ca_file,
            **changes,
        }
        server = SmtpServer(**terms)
        return SmtpSender(server, sender=f"Control plane <{SENDER}>", timeout_s=timeout_s)


@contextlib.contextmanager
def running_smtp(folder: Path) -> Iterator[MailServer]:
    key_file, ca_file = certificate(folder, "localhost")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(ca_file, key_file)
    mailbox = Mailbox()
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(_listening(mailbox, context)) as ports,
    ):
        yield MailServer(mailbox, *ports, ca_file)


@contextlib.asynccontextmanager
async def _listening(mailbox: Mailbox, context: ssl.SSLContext) -> AsyncIterator[tuple[int, int]]:
    """The ports without and with TLS from the first byte."""
    open_now: list[SMTP] = []

    def behind(**tls: Any) -> SMTP:
        open_now.append(_Told(mailbox, authenticator=mailbox.login, **tls))
        return open_now[-1]

    loop = asyncio.get_running_loop()
    plain = await loop.create_server(lambda: behind(tls_context=context), "127.0.0.1", 0)
    tls = await loop.create_server(
        lambda: behind(auth_require_tls=False), "127.0.0.1", 0, ssl=context
    )
    async with plain, tls:
        yield plain.sockets[0].getsockname()[1], tls.sockets[0].getsockname()[1]
    for protocol in open_now:
        if protocol.transport is not None:
            protocol.transport.close()


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Files of a key and of its self-made certificate, good for one name."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, SHA256())
    )
    key_file, ca_file = folder / "key.pem", folder / "ca.pem"
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    ca_file.write_bytes(made.public_bytes(Encoding.PEM))
    return key_file, ca_file
