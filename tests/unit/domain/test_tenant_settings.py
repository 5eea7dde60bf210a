"""Which settings a tenant has, what they may be, and what a change of them comes to."""

import re
from pathlib import Path
from typing import Any

import pytest

import controlplane
from controlplane.domain.tenant_settings import (
    KNOWN,
    Stored,
    ValueType,
    changes,
    known,
    plain,
    secrets,
    told,
    version,
)
from controlplane.errors import ValidationFailed

SECRET = "webhook.signing_secret"  # noqa: S105  its name
REFERENCE = Path(controlplane.__file__).parents[1] / "docs" / "reference" / "tenant-settings.md"
SEED = Path(controlplane.__file__).parents[1] / "migrations" / "tenant" / "seed.sql"

GOOD: dict[str, list[Any]] = {
    "locale": ["en", "pt-BR", "zh-Hant", "zh-Hant-TW", "es-419", "yue"],
    "timezone": ["UTC", "Europe/Paris", "America/Argentina/Ushuaia"],
    "branding.display_name": ["", "Acme & Söhne", "x" * 100],
    "branding.logo_url": ["", "https://cdn.example.com/a/logo.svg?v=1#x", "https://[::1]:8443/l"],
    "branding.primary_color": ["#1f6feb", "#ABCDEF"],
    "branding.accent_color": ["", "#000000"],
    "branding.support_email": ["", "help@acme.test"],
    "signup.enabled": [True, False],
    "signup.expires_hours": [1, 8760],
    SECRET: ["x" * 16, "x" * 500],
}
BAD: dict[str, list[Any]] = {
    "locale": ["", "EN", "en_US", "english", "en-us", "en\n", 1, ["en"]],
    "timezone": ["", "Mars/Olympus", "utc", "../etc/passwd", "Europe/Paris\n", 0],
    "branding.display_name": ["x" * 101, "a\nb", "a\0b", "\ud800", "a\u2028b", 7, {}],
    "branding.logo_url": [
        *("http://x.test/a", "javascript:alert(1)", "https://", "https:///a", "//x.test/a"),
        *("https://u:p@x.test/", 'https://x.test/"><script>', "https://x.test/a b", "https://x:y/"),
        *("HTTPS://x.test", "https://x.test/é", "https://x.test/" + "a" * 2000, True),
    ],
    "branding.primary_color": ["", "red", "#123", "#12345g", "#1234567", 0x123456],
    "branding.accent_color": ["red", "#12345"],
    "branding.support_email": ["help", "a@b@c", "Help <help@acme.test>", "a@b.test,c@d.test"],
    "signup.enabled": [0, 1, "true", "yes", []],
    "signup.expires_hours": [0, 8761, -1, 1.5, "72", True, 10**400],
    SECRET: ["", "x" * 15, "x" * 501, "x" * 15 + "\n", 1234567890123456],
}


def row(key: str, value: Any, *, version: int = 1, sealed: bool = False) -> Stored:
    kinds = {str: ValueType.STRING, bool: ValueType.BOOLEAN, int: ValueType.NUMBER}
    return Stored(key, kinds.get(type(value), ValueType.JSON), value, sealed, version)


def rows(*stored: Stored) -> dict[str, Stored]:
    return {each.key: each for each in stored}


def test_every_setting_has_examples_here_and_a_line_in_the_reference() -> None:
    assert set(GOOD) == set(BAD) == set(KNOWN)
    told_rows = re.findall(r"^\| `([a-z._]+)` \|", REFERENCE.read_text(), re.MULTILINE)
    assert told_rows == list(KNOWN)


def test_what_every_tenant_begins_with_is_the_default() -> None:
    seeded = re.findall(
        r"^  \('([a-z._]+)', '(.*?)', '(string|number|boolean)'", SEED.read_text(), re.MULTILINE
    )
    literals = {"true": True, "false": False}
    assert len(seeded) >= 6
    for key, text, kind in seeded:
        value = literals.get(text, text.strip('"') if kind == "string" else text)
        assert str(KNOWN[key].default) == str(value), key
        assert KNOWN[key].type == kind


@pytest.mark.parametrize("key", KNOWN)
def test_what_fits_is_taken(key: str) -> None:
    for value in [*GOOD[key], None]:
        before = None if value is not None else GOOD[key][-1]
        stored = rows(row(key, None if key == SECRET else before))
        (change,) = changes(stored, {key: value})
        assert (change.setting, change.after) == (KNOWN[key], value)


@pytest.mark.parametrize("key", KNOWN)
def test_what_does_not_fit_is_refused_and_named(key: str) -> None:
    for value in BAD[key]:
        with pytest.raises(ValidationFailed) as refusal:
            changes({}, {key: value})
        (fault,) = refusal.value.faults
        assert (fault.pointer, fault.code) == (f"/values/{key}", "invalid")
        assert len(repr(value)) < 20 or str(value) not in fault.detail


def test_every_fault_is_named_at_once_and_nothing_is_changed_for_one() -> None:
    with pytest.raises(ValidationFailed) as refusal:
        changes({}, {"locale": "EN", "no/such~key": 1, "timezone": "UTC"})
    assert [(f.pointer, f.code) for f in refusal.value.faults] == [
        ("/values/locale", "invalid"),
        ("/values/no~1such~0key", "unknown_setting"),
    ]


def test_so_many_at_once_are_refused_that_telling_each_would_be_long() -> None:
    with pytest.raises(ValidationFailed) as refusal:
        changes({}, {f"no.such{number}": 1 for number in range(101)})
    assert [fault.pointer for fault in refusal.value.faults] == ["/values"]


def test_what_is_there_already_is_no_change_but_a_secret_always_is_one() -> None:
    stored = rows(row("locale", "fr"), row(SECRET, None, sealed=True))
    assert changes(stored, {"locale": "fr", "timezone": None}) == []
    (change,) = changes(stored, {SECRET: "x" * 16})
    assert told([change]) == {SECRET: {"secret": "set"}}
    (change,) = changes(stored, {SECRET: None})
    assert told([change]) == {SECRET: {"secret": "removed"}}


def test_the_trail_tells_values_before_and_after() -> None:
    made = changes(rows(row("locale", "fr")), {"locale": None, "signup.enabled": True})
    assert told(made) == {
        "locale": {"before": "fr", "after": None},
        "signup.enabled": {"before": None, "after": True},
    }


def test_values_are_told_with_defaults_and_secrets_never() -> None:
    stored = rows(row("locale", "fr"), row("timezone", None), row(SECRET, None, sealed=True))
    assert plain(stored)["locale"] == "fr"
    assert plain(stored)["timezone"] == "UTC"
    assert SECRET not in plain(stored)
    assert (secrets(stored), secrets({})) == ({SECRET: True}, {SECRET: False})


def test_the_templates_own_settings_are_known_by_their_rows_and_typed_by_them() -> None:
    stored = rows(row("documents.max", 25), row("app.flag", value=True), row("app.any", {"a": [1]}))
    assert set(known(stored)) == {*KNOWN, "documents.max", "app.flag", "app.any"}
    assert len(changes(stored, {"documents.max": 2.5, "app.flag": False, "app.any": [None]})) == 3
    deep: Any = []
    for _ in range(50_000):
        deep = [deep]
    wrong: list[dict[str, Any]] = [
        *({"documents.max": value} for value in ("25", True, 10**15, float("inf"))),
        *({"app.flag": value} for value in (1, "true")),
        *({"app.any": value} for value in ({"a\0": 1}, ["\ud800"], list(range(500)), deep)),
    ]
    for wanted in wrong:
        with pytest.raises(ValidationFailed):
            changes(stored, wanted)


def test_true_is_not_one() -> None:
    stored = rows(row("app.any", {"a": 1}))
    assert len(changes(stored, {"app.any": {"a": True}})) == 1


def test_the_version_is_another_after_every_change_and_the_same_without() -> None:
    first = rows(row("locale", "fr"), row("timezone", "UTC"))
    seen = [
        version(first),
        version(rows(row("locale", "fr", version=2), row("timezone", "UTC"))),
        version(rows(row("locale", "fr"), row("timezone", "UTC", version=2))),
        version(rows(row("locale", "fr"))),
        version({}),
    ]
    assert len(set(seen)) == len(seen)
    assert version(rows(*reversed(first.values()))) == seen[0]
