"""Mail by SMTP: one connection a mail, and no mail is handed over twice.

Until the last line of a mail is written, nothing was sent. From there on only an answer tells.
"""

import asyncio
import re
from contextlib import suppress
from datetime import UTC, datetime
from email.policy import SMTP as LINES

from aiosmtplib import SMTP
from aiosmtplib.errors import SMTPException
from aiosmtplib.protocol import SMTPProtocol

from controlplane.domain.mail import Message
from controlplane.errors import ProviderUnavailable
from controlplane_emails.mime import compose, parse_sender
from controlplane_emails.smtp_answers import (
    GO_AHEAD,
    NO_LOGIN,
    NO_STARTTLS,
    TAKEN,
    answered,
    ended,
    queue_id,
    unanswered,
    unsent,
)
from controlplane_emails.smtp_server import Security, SmtpServer

# ASCII alone, so that no server on the way needs 8BITMIME, or writes the mail anew for want of it.
_WIRE = LINES.clone(cte_type="7bit")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_DOT = re.compile(rb"^\.", re.MULTILINE)


class SmtpSender:
    def __init__(self, server: SmtpServer, *, sender: str, timeout_s: float) -> None:
        """A mail takes at most `timeout_s`. Raises SettingsInvalid for a sender that is no address,
        and for a CA file that cannot be read.
        """
        self._server = server
        self._sender = parse_sender(sender)
        self._context = server.context()
        self._timeout_s = timeout_s

    async def send(self, message: Message) -> str | None:
        """Returns the name that the server's queue has for the mail, where it tells one."""
        mail = compose(message, sender=self._sender, date=datetime.now(UTC))
        wire = on_the_wire(mail.as_bytes(policy=_WIRE))
        client = self._client()
        try:
            protocol = await self._offer(client, message.to, wire)
            name = await self._taken(protocol)
            await self._part(client)
        finally:
            await _hang_up(client)
        return name

    def _client(self) -> SMTP:
        return SMTP(
            hostname=self._server.host,
            port=self._server.reached_at,
            # The machine's own name would be looked up, for as long as that takes.
            local_hostname=self._sender.domain,
            timeout=None,
            use_tls=self._server.security is Security.TLS,
            start_tls=False,  # by ourselves: never without
            tls_context=self._context,
        )

    async def _offer(self, client: SMTP, to: str, wire: bytes) -> SMTPProtocol:
        """Everything up to the last line of the mail, which is written and not answered yet."""
        try:
            async with asyncio.timeout(self._timeout_s / 2):
                await client.connect()
                await self._introduce(client)
                await client.mail(self._sender.addr_spec)
                await client.rcpt(to)
                answer = await client.execute_command(b"DATA")
                if answer.code != GO_AHEAD:
                    raise answered(answer.code, answer.message)
                if client.protocol is None:
                    raise ProviderUnavailable("The mail server went away.")
                protocol = client.protocol
                # Nothing may come between: what fails here has written nothing.
                protocol.write(wire)
                return protocol
        except (SMTPException, OSError, ValueError) as error:
            # The cause may quote addresses.
            raise unsent(error) from None

    async def _introduce(self, client: SMTP) -> None:
        await client.ehlo()
        if self._server.security is Security.STARTTLS:
            if not client.supports_extension("starttls"):
                raise ProviderUnavailable(NO_STARTTLS)
            await client.starttls()
            await client.ehlo()  # what was told before was not encrypted
        if self._server.user is not None and self._server.password is not None:
            if not client.supports_extension("auth"):
                raise ProviderUnavailable(NO_LOGIN)
            await client.login(self._server.user, self._server.password)

    async def _taken(self, protocol: SMTPProtocol) -> str | None:
        try:
            async with asyncio.timeout(self._timeout_s * 3 / 8):
                answer = await protocol.read_response()
        except (SMTPException, OSError) as error:
            raise unanswered(error) from None
        if answer.code not in TAKEN:
            raise ended(answer.code, answer.message)
        return queue_id(answer.message)

    async def _part(self, client: SMTP) -> None:
        """The mail is the server's already, so nothing that happens here matters."""
        with suppress(SMTPException, OSError):
            async with asyncio.timeout(self._timeout_s / 16):
                await client.quit()


async def _hang_up(client: SMTP) -> None:
    """At once: a server that is not heard from would hold a connection with TLS for half a minute."""
    transport = client.transport
    client.close()
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()
        await asyncio.sleep(0)  # its socket is closed in the next turn of the loop


def on_the_wire(mail: bytes) -> bytes:
    """With the line that ends a mail, and no other line that could be taken for it."""
    lines = _LINE_END.sub(b"\r\n", mail.rstrip(b"\r\n") + b"\n")
    return _DOT.sub(b"..", lines) + b".\r\n"
