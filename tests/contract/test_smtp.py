"""What a mail server answers, what it does not, and what follows for a mail."""

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import pytest

from controlplane.errors import ProviderRefused, ProviderUnavailable, SendUncertain
from controlplane_emails.smtp import SmtpSender
from controlplane_emails.smtp_server import Security
from tests.contract.test_sender_contract import LINK, MESSAGE
from tests.proxy import Cut, Lose, Proxy
from tests.smtp import PASSWORD, SENDER, USER, MailServer

pytestmark = pytest.mark.anyio

RUDE = f"<{MESSAGE.to}> no"  # servers quote whom they refuse


@dataclass
class Way:
    """Over a network that breaks to a server that answers as it is told. What breaks can be read."""

    server: MailServer
    tcp: Proxy

    def sender(self, **changes: Any) -> SmtpSender:
        plain = {"security": Security.NONE, "user": None, "password": None, "host": "127.0.0.1"}
        return self.server.sender(**{**plain, "port": self.tcp.port, **changes})

    def sent(self) -> int:
        return len(self.server.mailbox.sent)


@pytest.fixture
async def way(smtp: MailServer) -> AsyncIterator[Way]:
    smtp.mailbox.reset()
    async with Proxy("127.0.0.1", smtp.port) as tcp:
        yield Way(smtp, tcp)
    smtp.mailbox.reset()


@pytest.fixture
def server(smtp: MailServer) -> MailServer:
    smtp.mailbox.reset()
    return smtp


async def test_a_mail_goes_out_by_login_from_the_sender_to_the_recipient(
    server: MailServer,
) -> None:
    assert await server.sender().send(MESSAGE) == "4XyZ1"
    (mail,) = server.mailbox.sent
    assert (mail.mail_from, mail.rcpt_tos) == (SENDER, [MESSAGE.to])
    assert server.mailbox.logins == [USER]


async def test_what_is_handed_over_is_ascii_though_the_server_could_more(way: Way) -> None:
    await way.sender().send(changed(MESSAGE, html="<p>" + "ü" * 900 + "</p>\n"))
    (mail,) = way.server.mailbox.sent
    assert way.server.mailbox.wires()[0].isascii()
    assert mail.mail_options == []


async def test_tls_from_the_first_byte_works_as_well(server: MailServer) -> None:
    await server.sender(port=server.tls_port, security=Security.TLS).send(MESSAGE)
    assert server.mailbox.logins == [USER]
    assert len(server.mailbox.sent) == 1


async def test_no_connection_is_used_for_a_second_mail(way: Way) -> None:
    sender = way.sender()
    for _ in range(2):
        await sender.send(MESSAGE)
    assert (way.tcp.opened, way.sent()) == (2, 2)


@pytest.mark.parametrize("stage", ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "END"])
@pytest.mark.parametrize("answer", ["421 4.3.2", "451 4.7.1"])
async def test_an_answer_for_now_is_for_later(way: Way, stage: str, answer: str) -> None:
    way.server.mailbox.answers = {stage: f"{answer} {RUDE}"}
    with pytest.raises(ProviderUnavailable, match=answer) as caught:
        await way.sender().send(MESSAGE)
    assert MESSAGE.to not in str(caught.value)
    assert way.sent() == 0


@pytest.mark.parametrize("stage", ["RCPT", "DATA", "END"])
@pytest.mark.parametrize("answer", ["550 5.1.1", "552", "554 5.7.1"])
async def test_a_refusal_of_the_mail_is_for_good(way: Way, stage: str, answer: str) -> None:
    way.server.mailbox.answers = {stage: f"{answer} {RUDE}"}
    with pytest.raises(ProviderRefused, match=rf"\({answer}\)") as caught:
        await way.sender().send(MESSAGE)
    assert MESSAGE.to not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("stage", "answer", "remedy"),
    [
        ("GREETING", "554", "does not talk to us"),
        ("EHLO", "550", "does not talk to us"),
        ("MAIL", "550 5.7.1", "CONTROLPLANE_MAIL_FROM"),
        ("MAIL", "530 5.7.0", "CONTROLPLANE_MAIL_SMTP_USER"),
        ("RCPT", "530 5.7.0", "CONTROLPLANE_MAIL_SMTP_USER"),
        ("RCPT", "350", "out of turn"),
        ("DATA", "250", "out of turn"),
    ],
)
async def test_what_is_not_the_mails_fault_is_for_later_and_says_the_remedy(
    way: Way, stage: str, answer: str, remedy: str
) -> None:
    way.server.mailbox.answers = {stage: f"{answer} {RUDE}"}
    with pytest.raises(ProviderUnavailable, match=remedy) as caught:
        await way.sender().send(MESSAGE)
    assert MESSAGE.to not in str(caught.value)


@pytest.mark.parametrize(
    ("answers", "remedy"),
    [
        ({}, r"535 5.7.8\): look at CONTROLPLANE_MAIL_SMTP_USER"),
        ({"AUTH": "534 5.7.9 too weak"}, "CONTROLPLANE_MAIL_SMTP_PASSWORD"),
        ({"AUTH": "454 4.7.0 not now"}, "later"),
        ({"STARTTLS": "454 4.7.0 not now"}, "later"),
        ({"STARTTLS": "502 what"}, "does not talk to us"),
    ],
)
async def test_a_login_that_fails_is_for_later(
    server: MailServer, answers: dict[str, str], remedy: str
) -> None:
    server.mailbox.answers = answers
    with pytest.raises(ProviderUnavailable, match=remedy) as caught:
        await server.sender(password="wrong-owl").send(MESSAGE)  # noqa: S106  a wrong one
    assert "wrong-owl" not in str(caught.value)
    assert server.mailbox.sent == []


async def test_a_server_that_knows_no_login_gets_none(server: MailServer) -> None:
    server.mailbox.unoffered = ("AUTH",)
    with pytest.raises(ProviderUnavailable, match="takes no login"):
        await server.sender().send(MESSAGE)


async def test_without_starttls_neither_login_nor_mail_goes_out(way: Way) -> None:
    way.server.mailbox.unoffered = ("STARTTLS",)
    way.tcp.cut = seen = Cut(b"AUTH", nth=0)
    with pytest.raises(ProviderUnavailable, match="STARTTLS"):
        await way.server.sender(port=way.tcp.port).send(MESSAGE)
    assert (seen.seen, way.sent()) == (0, 0)


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
@pytest.mark.parametrize("wrong", [{"ca_file": None}, {"host": "127.0.0.1"}])
async def test_a_certificate_that_proves_nothing_is_refused(
    server: MailServer, security: Security, wrong: dict[str, Any]
) -> None:
    port = server.tls_port if security is Security.TLS else server.port
    with pytest.raises(ProviderUnavailable, match="CONTROLPLANE_MAIL_SMTP_CA_FILE"):
        await server.sender(port=port, security=security, **wrong).send(MESSAGE)
    assert (server.mailbox.logins, server.mailbox.sent) == ([], [])


@pytest.mark.parametrize("resets", [False, True])
@pytest.mark.parametrize("command", [b"EHLO", b"MAIL", b"RCPT", b"DATA"])
@pytest.mark.parametrize("lose", Lose)
async def test_a_connection_that_ends_before_the_mail_is_handed_over_has_sent_nothing(
    way: Way, command: bytes, lose: Lose, *, resets: bool
) -> None:
    way.tcp.resets = resets
    way.tcp.cut = Cut(command, lose=lose)
    with pytest.raises(ProviderUnavailable):
        await way.sender().send(MESSAGE)
    assert way.tcp.cut.struck
    assert way.sent() == 0


@pytest.mark.parametrize("resets", [False, True])
@pytest.mark.parametrize("lose", Lose)
async def test_a_connection_that_ends_after_it_leaves_the_mail_uncertain(
    way: Way, lose: Lose, *, resets: bool
) -> None:
    way.tcp.resets = resets
    way.tcp.cut = Cut(b"\r\n.\r\n", lose=lose)
    with pytest.raises(SendUncertain):
        await way.sender().send(MESSAGE)
    assert way.sent() == (lose is Lose.ANSWER)


@pytest.mark.parametrize("answer", ["what", "354 more", "999 no"])
async def test_an_answer_to_the_mail_that_cannot_be_read_leaves_it_uncertain(
    way: Way, answer: str
) -> None:
    way.server.mailbox.answers = {"END": answer}
    with pytest.raises(SendUncertain):
        await way.sender().send(MESSAGE)


async def test_a_server_that_goes_away_after_its_yes_has_taken_the_mail(way: Way) -> None:
    way.tcp.cut = Cut(b"QUIT")
    await way.sender().send(MESSAGE)
    assert way.sent() == 1


async def test_silence_before_the_mail_is_for_later(way: Way) -> None:
    way.tcp.silent = True
    with pytest.raises(ProviderUnavailable):
        await way.sender(timeout_s=0.2).send(MESSAGE)


async def test_silence_after_the_mail_leaves_it_uncertain_and_is_hung_up_on_at_once(
    server: MailServer,
) -> None:
    async with Proxy("127.0.0.1", server.port) as tcp:
        server.mailbox.when_silent = lambda: setattr(tcp, "silent", True)
        server.mailbox.silent = True
        with pytest.raises(SendUncertain):
            await server.sender(port=tcp.port, timeout_s=12).send(MESSAGE)
        assert tcp.silent
        assert not _connected_to(tcp.port)


def _connected_to(port: int) -> bool:
    rows = [row.split() for row in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    return any(to.endswith(f":{port:04X}") and state == "01" for _, _, to, state, *_ in rows)


async def test_neither_log_nor_repr_tells_a_secret(
    server: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.mailbox.answers = {"RCPT": f"550 5.1.1 {RUDE}"}
    sender = server.sender()
    with caplog.at_level(logging.DEBUG), pytest.raises(ProviderRefused) as caught:
        await sender.send(MESSAGE)
    # The server's own log, which it keeps in this process, is not ours.
    ours = "".join(line.getMessage() for line in caplog.records if line.name != "mail.log")
    told = ours + repr(sender) + repr(vars(sender)) + repr(caught.value)
    for secret in (PASSWORD, LINK, MESSAGE.to):
        assert secret not in told
