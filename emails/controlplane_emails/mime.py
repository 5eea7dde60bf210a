"""The wire form of a message, the same for every sender. Pure."""

import re
from datetime import datetime
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from uuid import UUID, uuid5

from controlplane.domain.mail import Message
from controlplane.errors import ProviderRefused, SettingsInvalid

_MESSAGE_ID = re.compile(r"<[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+>")
_LONGEST_LINE = 998  # octets, RFC 5322 section 2.1.1


def message_id(operation_id: UUID, template: str, host: str) -> str:
    """`<uuid@host>`, the same for the same operation and template, so that a repeat shows."""
    return f"<{uuid5(operation_id, template)}@{host}>"


def parse_sender(text: str) -> Address:
    """`no-reply@example.com` or `Example <no-reply@example.com>`. Raises SettingsInvalid."""
    # The parser takes line breaks for spaces.
    name, spec = parseaddr(text) if text.isprintable() else ("", "")
    try:
        return _address(name, spec)
    except (ValueError, HeaderParseError, IndexError) as exc:
        raise SettingsInvalid(f"{text!r} is not an address that mail can come from.") from exc


def compose(message: Message, *, sender: Address, date: datetime) -> EmailMessage:
    """The message as text and HTML alternatives, in UTF-8.

    Raises ProviderRefused for an address or a header that no mail can carry.
    """
    mail = EmailMessage(policy=SMTP)
    try:
        mail["From"] = sender
        mail["To"] = _address("", message.to)
        mail["Subject"] = message.subject
        mail["Message-ID"] = _checked_id(message.message_id)
        mail["Date"] = format_datetime(date)
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text, cte=_encoding(message.text))
        mail.add_alternative(message.html, subtype="html", cte=_encoding(message.html))
    except (ValueError, HeaderParseError, IndexError) as exc:
        # The cause quotes what it refuses, and the address is personal.
        raise ProviderRefused(
            f"Message {message.message_id!r} cannot be mail: its address, id or subject is malformed."
        ) from exc
    return mail


def _address(name: str, spec: str) -> Address:
    address = Address(name, addr_spec=spec)
    # The parser mends what it can (spaces, comments); only ASCII is delivered everywhere.
    if not spec.isascii() or address.addr_spec != spec:
        raise ValueError("not exactly one plain address")
    return address


def _checked_id(text: str) -> str:
    if not _MESSAGE_ID.fullmatch(text):
        raise ValueError("not a Message-ID")
    return text


def _encoding(text: str) -> str:
    """Readable as it is where lines are short enough for that."""
    if any(len(line.encode()) > _LONGEST_LINE for line in text.splitlines()):
        return "quoted-printable"
    return "7bit" if text.isascii() else "8bit"
