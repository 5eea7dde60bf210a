"""A tenant's settings: which there are, what they may be, and what a change of them comes to. Pure."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from controlplane.domain import setting_values as values
from controlplane.domain.setting_values import Rule
from controlplane.errors import FieldFault, ValidationFailed


class ValueType(StrEnum):
    """As the column `value_type` has it."""

    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"
    JSON = "json"


@dataclass(frozen=True)
class Setting:
    """A setting that may be there. `secret`: it is sealed, and nobody reads it again."""

    key: str
    rule: Rule
    default: Any
    description: str
    type: ValueType = ValueType.STRING
    secret: bool = False


@dataclass(frozen=True)
class Stored:
    """A row. A `value` of None means the default; of a secret it is None, and `sealed` says
    whether it is set. `version` grows by one with each change."""

    key: str
    type: ValueType
    value: Any
    sealed: bool
    version: int


@dataclass(frozen=True)
class Change:
    """`after` is the new value, None for the default (of a secret: for none)."""

    setting: Setting
    before: Any
    after: Any


_KNOWN = (
    Setting("locale", values.locale, "en", "Language of pages and mails."),
    Setting("timezone", values.timezone, "UTC", "How times are shown."),
    Setting("branding.display_name", values.line(100), "", "Shown instead of the tenant's name."),
    Setting("branding.logo_url", values.or_empty(values.url), "", "Where the logo is."),
    Setting("branding.primary_color", values.color, "#1f6feb", "Colour of buttons and links."),
    Setting("branding.accent_color", values.or_empty(values.color), "", "A second colour."),
    Setting(
        "branding.support_email",
        values.or_empty(values.address),
        "",
        "Whom members turn to; only they are told.",
    ),
    Setting(
        "signup.enabled",
        values.boolean,
        default=False,
        description="Whether anybody may ask for an account.",
        type=ValueType.BOOLEAN,
    ),
    Setting(
        "signup.expires_hours",
        values.whole(1, 8760),
        72,
        "How long a sign-up waits for approval.",
        ValueType.NUMBER,
    ),
    Setting(
        "webhook.signing_secret",
        values.line(500, shortest=16),
        None,
        "With which the application signs what it sends to the tenant's systems.",
        secret=True,
    ),
)
# Each one that does not fit is told.
MOST_AT_ONCE = 100
KNOWN: Mapping[str, Setting] = {setting.key: setting for setting in _KNOWN}
BRANDING = tuple(key for key in KNOWN if key.startswith("branding."))

_BY_TYPE: Mapping[ValueType, Rule] = {
    ValueType.STRING: values.line(values.TEXT_CHARACTERS),
    ValueType.NUMBER: values.number,
    ValueType.BOOLEAN: values.boolean,
    ValueType.JSON: values.document,
}


def known(stored: Mapping[str, Stored]) -> dict[str, Setting]:
    """Every setting of this tenant: ours, and those that the template's seed has entered, which may
    be whatever their type allows."""
    seeded = {
        row.key: Setting(row.key, _BY_TYPE[row.type], None, "", row.type, secret=row.sealed)
        for row in stored.values()
        if row.key not in KNOWN
    }
    return {**KNOWN, **seeded}


def plain(stored: Mapping[str, Stored]) -> dict[str, Any]:
    """The value of every setting that is no secret; where none is stored, the default."""
    return {
        key: _value(setting, stored.get(key))
        for key, setting in sorted(known(stored).items())
        if not setting.secret
    }


def secrets(stored: Mapping[str, Stored]) -> dict[str, bool]:
    """Of every secret, whether it is set."""
    return {
        key: key in stored and stored[key].sealed
        for key, setting in sorted(known(stored).items())
        if setting.secret
    }


def _value(setting: Setting, row: Stored | None) -> Any:
    return setting.default if row is None or row.value is None else row.value


def version(stored: Mapping[str, Stored]) -> str:
    """Of all settings together: another one after every change of any of them."""
    rows = sorted(f"{row.key}={row.version}" for row in stored.values())
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]


def changes(stored: Mapping[str, Stored], wanted: Mapping[str, Any]) -> list[Change]:
    """What has to be written so that each setting in `wanted` has its value, None being the default.

    A setting that has its value already is no change; a secret always is one. Raises
    ValidationFailed with every fault; pointers begin with /values.
    """
    if len(wanted) > MOST_AT_ONCE:
        fault = FieldFault("/values", "invalid", f"These may be at most {MOST_AT_ONCE} at once.")
        raise ValidationFailed(f"/values: {fault.detail}", [fault])
    there = known(stored)
    faults = [fault for key, value in wanted.items() for fault in _faults(there, key, value)]
    if faults:
        raise ValidationFailed(" ".join(f"{f.pointer}: {f.detail}" for f in faults), faults)
    asked = [_change(there[key], stored.get(key), value) for key, value in sorted(wanted.items())]
    return [change for change in asked if change.setting.secret or not _same(change)]


def _same(change: Change) -> bool:
    """As JSON: to Python, true is 1."""
    before, after = (json.dumps(value, sort_keys=True) for value in (change.before, change.after))
    return before == after


def _faults(there: Mapping[str, Setting], key: str, value: Any) -> list[FieldFault]:
    pointer = f"/values/{key.replace('~', '~0').replace('/', '~1')}"
    if key not in there:
        return [FieldFault(pointer, "unknown_setting", f"There is no setting '{key}'.")]
    must_be = None if value is None else there[key].rule(value)
    return [FieldFault(pointer, "invalid", f"This must be {must_be}.")] if must_be else []


def _change(setting: Setting, row: Stored | None, value: Any) -> Change:
    if setting.secret:
        return Change(setting, None, value)
    return Change(setting, row and row.value, value)


def told(changed: list[Change]) -> dict[str, Any]:
    """What the audit trail says of them: values before and after; of a secret, what was done."""
    return {
        change.setting.key: {"secret": "removed" if change.after is None else "set"}
        if change.setting.secret
        else {"before": change.before, "after": change.after}
        for change in changed
    }
