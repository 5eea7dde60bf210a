"""A letter of each kind to somebody who does not exist, for previews and to try templates with."""

from dataclasses import MISSING, fields, replace
from datetime import UTC, datetime, timedelta
from typing import TypedDict

from controlplane.domain.letters import (
    Invitation,
    Letter,
    MagicLink,
    PasswordChanged,
    PasswordReset,
    RegistrationApproved,
    RegistrationPending,
    RegistrationRejected,
    VerifyEmail,
    Welcome,
)


class _Ada(TypedDict):
    to: str
    tenant_name: str
    tenant_url: str
    person_name: str


_ADA: _Ada = {
    "to": "ada@acme.example",
    "tenant_name": "Acme & Söhne",
    "tenant_url": "https://acme.example.com",
    "person_name": "Ada Lovelace",
}
_TOKEN = "only-an-example-of-a-token-6b0a6f3f8f10"  # noqa: S105  it opens nothing
_MINUTES, _HOURS, _DAYS = timedelta(minutes=15), timedelta(hours=72), timedelta(days=7)
_AT = datetime(2026, 11, 22, 4, 41, tzinfo=UTC)
_REASON = "We take only people who work at Acme. Please register with your address at work."

# By template.
SAMPLES: dict[str, Letter] = {
    letter.template: letter
    for letter in (
        Welcome(**_ADA, token=_TOKEN, valid_for=_HOURS),
        MagicLink(**_ADA, token=_TOKEN, valid_for=_MINUTES),
        PasswordReset(**_ADA, token=_TOKEN, valid_for=_MINUTES),
        PasswordChanged(**_ADA, changed_at=_AT),
        VerifyEmail(**_ADA, token=_TOKEN, valid_for=timedelta(hours=24)),
        RegistrationPending(**_ADA, valid_for=_HOURS),
        RegistrationApproved(**_ADA),
        RegistrationRejected(**_ADA, reason=_REASON),
        Invitation(**_ADA, token=_TOKEN, valid_for=_DAYS, inviter_name="Grace Hopper"),
    )
}


def barest(letter: Letter) -> Letter:
    """The same letter without anything that it can do without."""
    bare = {field.name: field.default for field in fields(letter) if field.default is not MISSING}
    return replace(letter, **bare)
