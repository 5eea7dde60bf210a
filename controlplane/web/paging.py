"""Pages by key: a cursor says behind which row the next page begins. Pure."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar
from uuid import UUID

from controlplane.errors import FieldFault, ValidationFailed

LARGEST = 100
USUAL = 20
# Whatever fits this can be decoded: 14 digits end in the year 4253.
CURSOR_PATTERN = "^[0-9a-f]{46}$"
_DIGITS = 14
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Dated(Protocol):
    @property
    def id(self) -> UUID: ...
    @property
    def created_at(self) -> datetime: ...


Row = TypeVar("Row", bound=Dated)


def encode_cursor(row: Dated) -> str:
    """An opaque text: hexadecimal microseconds since 1970, then the id."""
    return f"{(row.created_at - _EPOCH) // _MICROSECOND:014x}{row.id.hex}"


def decode_cursor(text: str) -> tuple[datetime, UUID]:
    """(created_at, id) of the last row seen. Raises ValidationFailed."""
    if not re.fullmatch(CURSOR_PATTERN, text):
        detail = "This is no cursor of ours; take 'next_cursor' of the page before."
        raise ValidationFailed(detail, [FieldFault("/query/cursor", "invalid", detail)])
    return _EPOCH + int(text[:_DIGITS], 16) * _MICROSECOND, UUID(text[_DIGITS:])


def cut(rows: Sequence[Row], limit: int) -> tuple[Sequence[Row], str | None]:
    """The page and the next one's cursor, from one row more than the page may have."""
    page = rows[:limit]
    return page, encode_cursor(page[-1]) if len(rows) > limit else None
