"""Cursors."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.errors import ValidationFailed
from controlplane.web.paging import CURSOR_PATTERN, cut, decode_cursor, encode_cursor


@dataclass(frozen=True)
class Row:
    created_at: datetime
    id: UUID


@given(
    st.datetimes(
        # The first day of 1970 in India is partly still 1969 in UTC.
        min_value=datetime(1970, 1, 2),  # noqa: DTZ001  the time zone is drawn beside it
        max_value=datetime(4000, 1, 1),  # noqa: DTZ001  as above
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]),
    ),
    st.uuids(),
)
def test_a_cursor_leads_back_to_its_row(at: datetime, row_id: UUID) -> None:
    assert decode_cursor(encode_cursor(Row(at, row_id))) == (at, row_id)


@given(st.from_regex(CURSOR_PATTERN, fullmatch=True))
def test_whatever_fits_the_documented_pattern_can_be_read(text: str) -> None:
    decode_cursor(text)


@pytest.mark.parametrize("text", ["", "0" * 45, "0" * 46 + "\n", "G" * 46, "\u0660" * 46])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        decode_cursor(text)
    assert [fault.pointer for fault in refused.value.faults] == ["/query/cursor"]


@pytest.mark.parametrize("rows", [0, 1, 2, 3])
def test_there_is_a_next_page_only_behind_a_full_one(rows: int) -> None:
    found = [Row(datetime(2026, 1, 1, tzinfo=UTC), uuid4()) for _ in range(rows)]
    page, cursor = cut(found, 2)
    assert list(page) == found[:2]
    assert cursor == (encode_cursor(found[1]) if rows > 2 else None)
