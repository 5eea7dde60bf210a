"""A token can be told from noise without asking the database."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.store.admins import new_token, well_formed

# Made once, checked against CRC-32 in base 62: scanners of leaked secrets rely on this form.
KNOWN = "cp_000000000000000000000000000000002WJYRi"


def test_a_token_has_a_prefix_32_random_characters_and_a_checksum() -> None:
    token = new_token()
    assert re.fullmatch(r"cp_[0-9A-Za-z]{38}", token)
    assert well_formed(token)


def test_no_two_tokens_are_alike() -> None:
    assert len({new_token() for _ in range(100)}) == 100


def test_the_checksum_never_changes_from_one_release_to_the_next() -> None:
    assert well_formed(KNOWN)


@given(st.integers(min_value=3, max_value=40), st.characters(codec="ascii", categories=["L", "N"]))
def test_one_wrong_character_is_noticed(position: int, character: str) -> None:
    token = KNOWN[:position] + character + KNOWN[position + 1 :]
    assert well_formed(token) is (token == KNOWN)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cp_",
        "cp",
        KNOWN[3:],
        KNOWN + "0",
        KNOWN[:-1],
        KNOWN.upper(),
        "xx_" + KNOWN[3:],
        KNOWN + "\n",
        " " + KNOWN,
        KNOWN.replace("0", "\u0660"),
        "\x00" * 41,
        "cp_" + "0" * 38,
        "a" * 100_000,
    ],
)
def test_noise_is_no_token(text: str) -> None:
    assert not well_formed(text)


@given(st.text())
def test_any_text_is_judged_without_an_error(text: str) -> None:
    assert well_formed(text) in {True, False}
