"""Headers with a grammar of their own."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.errors import ValidationFailed
from controlplane.web.api.headers import KEY_PATTERN, idempotency_key, preferred_wait_s


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (None, None),
        ("abc", "abc"),
        ('"abc"', "abc"),
        ('"a b"', "a b"),
        ('"a \\"b\\" \\\\"', 'a "b" \\'),
        ("a\\b", "a\\b"),
        ("x" * 255, "x" * 255),
    ],
)
def test_a_key_is_read_in_quotes_and_bare(text: str | None, key: str | None) -> None:
    assert idempotency_key(text) == key


@given(st.text(min_size=0, max_size=300))
def test_the_documented_pattern_says_what_is_taken(text: str) -> None:
    try:
        taken = idempotency_key(text) is not None
    except ValidationFailed:
        taken = False
    # A key of quoted characters counts those, not its escapes.
    assert taken == (re.fullmatch(KEY_PATTERN, text) is not None)


@given(st.from_regex(KEY_PATTERN, fullmatch=True))
def test_what_fits_the_documented_pattern_is_taken(text: str) -> None:
    assert idempotency_key(text)


@pytest.mark.parametrize(
    ("prefer", "wait_s"),
    [
        (None, None),
        ("", None),
        ("wait=5", 5),
        ("WAIT = 5", 5),
        ('wait="5"', 5),
        ("respond-async, wait=10", 10),
        ("wait=7; foo=bar", 7),
        ("wait=31", 30),
        ("wait=999999", 30),
        ("wait=0", 0),
        ("wait=-1", None),
        ("wait=1.5", None),
        ("wait", None),
        ("awaited=5", None),
        ("wait=9999999", None),
        ("wait=\u0665", None),
        ("wait=5,wait=6", 5),
    ],
)
def test_a_wait_is_read_and_what_is_none_is_ignored(prefer: str | None, wait_s: int | None) -> None:
    assert preferred_wait_s(prefer) == wait_s
