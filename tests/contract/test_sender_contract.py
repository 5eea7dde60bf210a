"""What every sender of mail promises (controlplane/ports.py)."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from controlplane.domain.mail import Message
from controlplane.errors import ProviderRefused, ProviderUnavailable
from tests.contract.sender_peers import PEERS, Peer, Received

pytestmark = pytest.mark.anyio

LINK = "https://acme.example.com/setup?token=" + "0123456789abcdef" * 4
MESSAGE = Message(
    "<3f0b9a52-0f3d-5a8e-9f43-6b0a6f3f8f10@acme.example.com>",
    "ada@acme.test",
    "Crème & Söhne 株式会社 is ready: choose your password, and do so before the week is over",
    f"Hello Ada, grüß Gott\n\n{LINK}\n\n.\nFrom the first line on\n",
    f'<p>Hello Ada, grüß Gott</p>\n<a href="{LINK}">go</a>\n',
)
RECEIVED = Received(MESSAGE.message_id, MESSAGE.to, MESSAGE.subject, MESSAGE.text, MESSAGE.html)


@pytest.fixture(params=PEERS)
def peer(request: pytest.FixtureRequest, tmp_path: Path) -> Peer:
    return PEERS[request.param](request, tmp_path)


async def test_a_mail_arrives_as_it_was_written(peer: Peer) -> None:
    await peer.sender.send(MESSAGE)
    assert peer.received() == [RECEIVED]


async def test_sending_twice_delivers_twice(peer: Peer) -> None:
    await peer.sender.send(MESSAGE)
    await peer.sender.send(MESSAGE)
    assert peer.received() == [RECEIVED, RECEIVED]


async def test_twenty_mails_at_once_all_arrive(peer: Peer) -> None:
    mails = [replace(MESSAGE, message_id=f"<{number}@acme.example.com>") for number in range(10)]
    await asyncio.gather(*(peer.sender.send(mail) for mail in mails + mails))
    assert sorted(mail.message_id for mail in peer.received()) == sorted(
        mail.message_id for mail in mails + mails
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"to": "ada@acme.test\r\nBcc: eve@evil.test"},
        {"to": "ada@acme.test\nBcc: eve@evil.test"},
        {"to": "ada@acme.test, eve@evil.test"},
        {"to": "Ada <ada@acme.test>"},
        {"to": "ada"},
        {"to": "ada@acme.test "},
        {"to": "ada@ acme.test"},
        {"to": "ada(of acme)@acme.test"},
        {"to": "ada@acme.test\t"},
        {"to": "ada@acme.test\0"},
        {"to": "@acme.test"},
        {"to": "ada@"},
        {"to": ""},
        {"to": "ada@acmé.test"},
        {"subject": "Hello\r\nBcc: eve@evil.test"},
        {"subject": "Hello\nBcc: eve@evil.test"},
        {"subject": "Hello\rBcc: eve@evil.test"},
        {"message_id": "<1@acme.example.com>\r\nBcc: eve@evil.test"},
        {"message_id": "1@acme.example.com"},
        {"message_id": "../../<1@acme>"},
        {"text": "half a pair: \ud800"},
    ],
)
async def test_what_no_mail_can_carry_is_refused_for_good_and_not_told_to_the_log(
    peer: Peer, changes: dict[str, str]
) -> None:
    with pytest.raises(ProviderRefused) as refusal:
        await peer.sender.send(replace(MESSAGE, **changes))
    assert peer.received() == []
    assert "ada" not in str(refusal.value)
    assert LINK not in str(refusal.value)


async def test_lines_of_any_length_arrive_whole(peer: Peer) -> None:
    long = replace(MESSAGE, text="ä" * 3000 + "\n", html="<p>" + "x" * 3000 + "</p>\n")
    await peer.sender.send(long)
    assert [(mail.text, mail.html) for mail in peer.received()] == [(long.text, long.html)]


async def test_the_longest_host_fits_into_the_message_id(peer: Peer) -> None:
    host = ".".join(["a" * 63, "b" * 63, "c" * 63, "example"])
    message_id = f"<3f0b9a52-0f3d-5a8e-9f43-6b0a6f3f8f10@{host}>"
    await peer.sender.send(replace(MESSAGE, message_id=message_id))
    assert [mail.message_id for mail in peer.received()] == [message_id]


async def test_an_unavailable_outbox_says_try_again_and_has_taken_nothing(peer: Peer) -> None:
    peer.cut_off()
    with pytest.raises(ProviderUnavailable):
        await peer.sender.send(MESSAGE)
    peer.restore()
    assert peer.received() == []
    await peer.sender.send(MESSAGE)
    assert peer.received() == [RECEIVED]
