"""What each mail knows, and what none may hold."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from controlplane.domain.letters import (
    LETTERS,
    Invitation,
    Letter,
    LinkLetter,
    PasswordChanged,
    Period,
    RegistrationApproved,
    RegistrationRejected,
    Welcome,
)
from controlplane.errors import ValidationFailed
from controlplane_emails.samples import SAMPLES

ACME: dict[str, Any] = {
    "to": "ada@acme.test",
    "tenant_name": "Acme",
    "tenant_url": "https://acme.example.com",
}
TEXTS = [
    (name, field.name)
    for name, letter in SAMPLES.items()
    for field in fields(letter)
    if isinstance(getattr(letter, field.name), str)
]


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (timedelta(seconds=20), "1 minute"),
        (timedelta(minutes=1), "1 minute"),
        (timedelta(minutes=15), "15 minutes"),
        (timedelta(minutes=90), "90 minutes"),
        (timedelta(minutes=119, seconds=59), "119 minutes"),
        (timedelta(hours=1), "1 hour"),
        (timedelta(hours=2), "2 hours"),
        (timedelta(hours=24), "24 hours"),
        (timedelta(hours=71, minutes=59), "71 hours"),
        (timedelta(hours=72), "72 hours"),
        (timedelta(hours=100), "4 days"),
        (timedelta(days=7), "7 days"),
    ],
)
def test_a_period_is_said_in_its_unit_and_never_promises_more(span: timedelta, said: str) -> None:
    assert str(Period(span)) == said


def test_templates_in_other_languages_find_the_numbers() -> None:
    period = Period(timedelta(days=2, minutes=30))
    assert (period.minutes, period.hours, period.days) == (2910, 48, 2)


def test_no_two_letters_have_one_template() -> None:
    assert len({letter.template for letter in LETTERS}) == len(LETTERS)


def test_no_letter_has_a_place_for_a_password() -> None:
    names = {name for letter in SAMPLES.values() for name in letter.variables()}
    assert not [name for name in names if "password" in name or "token" in name]


def test_links_are_made_of_the_tenants_address_and_of_a_token_that_no_server_is_sent() -> None:
    letter = Welcome(**ACME, token="a b/c?d&e#f", valid_for=timedelta(hours=1))  # noqa: S106  none
    link = letter.variables()["link"]
    assert link == "https://acme.example.com/setup#token=a%20b%2Fc%3Fd%26e%23f"
    there = replace(letter, tenant_url="http://acme.localhost:8080/")
    assert str(there.variables()["link"]).startswith("http://acme.localhost:8080/setup#token=")
    assert there.variables()["tenant_host"] == "acme.localhost:8080"


def test_the_letters_with_a_link_lead_to_pages_of_their_own() -> None:
    pages = [letter.page for letter in LETTERS if issubclass(letter, LinkLetter)]
    assert len(set(pages)) == len(pages) == 5


@pytest.mark.parametrize(
    "address",
    [
        *("", "acme.example.com", "/setup", "//acme.example.com", "ftp://acme.example.com"),
        *(
            "javascript:alert(1)//acme.example.com",
            "https://acme.example.com@evil.test",
            "https://",
        ),
    ],
)
def test_an_address_that_no_link_can_be_made_of_is_refused(address: str) -> None:
    with pytest.raises(ValidationFailed, match="tenant_url must be an address of the web"):
        RegistrationApproved(**{**ACME, "tenant_url": address})


@pytest.mark.parametrize(("name", "field"), TEXTS)
def test_a_line_break_or_control_character_is_refused_with_the_fields_name(
    name: str, field: str
) -> None:
    letter = SAMPLES[name]
    breaks = ["\r\n", "\n", "\r", "\x0b", "\x85", "\u2028"]
    # Somebody's reason may have several lines; it is one paragraph all the same.
    for character in ["\0", "\ud800", *(breaks if field != "reason" else [])]:
        text = f"{getattr(letter, field)}{character}Bcc: eve@evil.test"
        with pytest.raises(ValidationFailed) as refusal:
            replace(letter, **{field: text})
        assert [fault.pointer for fault in refusal.value.faults] == [f"/{field}"]


def test_a_reason_is_one_paragraph_whatever_it_was() -> None:
    letter = RegistrationRejected(**ACME, reason=" Not\r\nnow,\n\nsorry.\u2028Bcc: x ")
    assert letter.variables()["reason"] == "Not now, sorry. Bcc: x"
    assert RegistrationRejected(**ACME, reason=" \n").variables()["reason"] is None


@pytest.mark.parametrize("reason", ["See https://evil.test", "WWW.evil.test", "x://y"])
def test_a_reason_with_a_link_is_refused(reason: str) -> None:
    with pytest.raises(ValidationFailed, match="reason may not hold a link"):
        RegistrationRejected(**ACME, reason=reason)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "https://evil.test",
            "Win at evil.test!",
            "www.evil.test",
            "ada@evil.test",
            "evil.test/x",
        ),
        *("EVIL.TEST", "bücher.example", "\\\\evil\\x", "", "  "),
    ],
)
def test_a_name_that_a_mail_program_would_make_a_link_of_is_left_out(name: str) -> None:
    for letter in SAMPLES.values():
        assert replace(letter, person_name=name).variables()["person_name"] is None
    invited = Invitation(**ACME, token="t", valid_for=timedelta(days=7), inviter_name=name)  # noqa: S106  none
    assert invited.variables()["inviter_name"] is None


@pytest.mark.parametrize(
    "name", ["Ada Lovelace", "J. R. R. Tolkien", "O'Neil, Dr. A.", "Ž. Nováková"]
)
def test_any_other_name_stays(name: str) -> None:
    letter = RegistrationApproved(**ACME, person_name=f" {name} ")
    assert letter.variables()["person_name"] == name


def test_the_time_of_a_change_is_told_in_utc() -> None:
    there = datetime(2026, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))
    told = PasswordChanged(**ACME, changed_at=there).variables()["changed_at"]
    assert told == there
    assert isinstance(told, datetime)
    assert (told.year, told.tzinfo) == (2025, UTC)


@pytest.mark.parametrize("name", SAMPLES)
def test_no_log_learns_of_address_or_token(name: str) -> None:
    letter: Letter = SAMPLES[name]
    assert repr(letter) == f"{type(letter).__name__}(…)"
