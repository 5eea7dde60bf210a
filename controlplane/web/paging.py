"""Pages by key: a cursor says behind which row the next page begins. Pure."""

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol, TypeVar
from uuid import UUID

from controlplane.errors import FieldFault, ValidationFailed

LARGEST = 100
USUAL = 20


class Dated(Protocol):
    @property
    def id(self) -> UUID: ...
    @property
    def created_at(self) -> datetime: ...


Row = TypeVar("Row", bound=Dated)


def encode_cursor(row: Dated) -> str:
    """An opaque text of URL-safe characters."""
    plain = f"{row.created_at.isoformat()} {row.id.hex}"
    return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


def decode_cursor(text: str) -> tuple[datetime, UUID]:
    """(created_at, id) of the last row seen. Raises ValidationFailed."""
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        moment, _, row_id = base64.b64decode(padded, b"-_", validate=True).decode().partition(" ")
        return datetime.fromisoformat(moment).astimezone(UTC), UUID(row_id)
    except (ValueError, OverflowError, binascii.Error) as error:
        detail = "This is no cursor of ours; take 'next_cursor' of the page before."
        raise ValidationFailed(detail, [FieldFault("/query/cursor", "invalid", detail)]) from error


def cut(rows: Sequence[Row], limit: int) -> tuple[Sequence[Row], str | None]:
    """The page and the next one's cursor, from one row more than the page may have."""
    page = rows[:limit]
    return page, encode_cursor(page[-1]) if len(rows) > limit else None
