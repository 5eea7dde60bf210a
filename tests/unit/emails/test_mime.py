"""The wire form of mail and the outbox folder."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from controlplane.domain.mail import Message
from controlplane.errors import SettingsInvalid, StepError
from controlplane_emails.file import FileSender
from controlplane_emails.memory import Fault, MemorySender
from controlplane_emails.mime import compose, message_id, parse_sender

MESSAGE = Message("<1@acme.example.com>", "ada@acme.test", "Grüße", "Grüße\n", "<p>Grüße</p>\n")
SENDER = "Control plane <no-reply@example.com>"


def test_a_message_id_is_the_same_for_the_same_operation_and_template_only() -> None:
    operation = UUID("00000000-0000-4000-8000-000000000001")
    first = message_id(operation, "welcome", "acme.example.com")
    assert first == "<e1232bdf-59ea-5341-9faf-3b1af9f45902@acme.example.com>"
    assert message_id(operation, "welcome", "acme.example.com") == first
    assert message_id(operation, "reset", "acme.example.com") != first
    assert message_id(UUID(int=2), "welcome", "acme.example.com") != first


def test_a_mail_has_its_headers_and_both_bodies() -> None:
    date = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    wire = compose(MESSAGE, sender=parse_sender(SENDER), date=date).as_bytes()
    head, _, body = wire.partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[:6] == [
        b"From: Control plane <no-reply@example.com>",
        b"To: ada@acme.test",
        b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=",
        b"Message-ID: <1@acme.example.com>",
        b"Date: Fri, 02 Jan 2026 03:04:05 +0000",
        b"Auto-Submitted: auto-generated",
    ]
    assert b"Content-Type: multipart/alternative;" in head
    assert b'Content-Type: text/plain; charset="utf-8"' in body
    assert b'Content-Type: text/html; charset="utf-8"' in body
    assert body.index(b"text/plain") < body.index(b"text/html")
    assert "<p>Grüße</p>\r\n".encode() in body
    assert b"\n" not in wire.replace(b"\r\n", b"")


def test_a_senders_name_may_be_written_in_any_script() -> None:
    assert str(parse_sender("Söhne <no-reply@example.com>")) == "Söhne <no-reply@example.com>"
    assert str(parse_sender("no-reply@example.com")) == "no-reply@example.com"


@pytest.mark.parametrize(
    "sender",
    ["", "nobody", "a@b@c", "Evil\r\nBcc: x <a@example.com>", "a@example.com\n", "ä@example.com"],
)
def test_a_sender_that_is_no_address_stops_the_start(tmp_path: Path, sender: str) -> None:
    with pytest.raises(SettingsInvalid, match="is not an address"):
        FileSender(tmp_path, sender=sender)


def send(folder: Path, message: Message = MESSAGE) -> str:
    return asyncio.run(FileSender(folder, sender=SENDER).send(message))


def test_each_mail_is_a_file_for_its_owner_alone(tmp_path: Path) -> None:
    outbox = tmp_path / "outbox"
    assert [send(outbox), send(outbox)] == ["1@acme.example.com.eml", "1@acme.example.com-2.eml"]
    names = sorted(path.name for path in outbox.iterdir())
    assert names == ["1@acme.example.com-2.eml", "1@acme.example.com.eml"]
    assert {path.stat().st_mode & 0o777 for path in outbox.iterdir()} == {0o600}
    assert outbox.stat().st_mode & 0o777 == 0o700


def test_a_file_that_is_there_already_is_never_replaced(tmp_path: Path) -> None:
    taken = tmp_path / "1@acme.example.com.eml"
    taken.write_text("somebody else's")
    assert send(tmp_path) == "1@acme.example.com-2.eml"
    assert taken.read_text() == "somebody else's"


def test_the_files_name_is_never_a_path_and_never_hidden(tmp_path: Path) -> None:
    name = send(tmp_path, replace(MESSAGE, message_id="<..+a@acme.example.com>"))
    assert name == "_a@acme.example.com.eml"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_fault_after_the_effect_leaves_the_mail_sent() -> None:
    sender = MemorySender()
    sender.faults.append(Fault(StepError("unknown"), after_effect=True, times=2))
    for _ in range(2):
        with pytest.raises(StepError):
            asyncio.run(sender.send(MESSAGE))
    assert asyncio.run(sender.send(MESSAGE)) == "memory-3"
    assert sender.sent == [MESSAGE] * 3
