"""What tenants' people are written, mail by mail, and what each mail knows. Pure.

A letter becomes a mail by the template of its name. Its links are made here, of the tenant's address
and a token; nothing of a request, and no password, has a place in it.
"""

import re
import unicodedata
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import ClassVar
from urllib.parse import quote, urlsplit

from controlplane.errors import FieldFault, ValidationFailed

# Control characters, line and paragraph separators, halves of surrogate pairs.
_NEVER_IN_A_LINE = frozenset({"Cc", "Zl", "Zp", "Cs"})
# What programs make a link of by themselves, wherever it stands.
_SAYS_LINK = re.compile(r"://|\bwww\.", re.IGNORECASE)
_LOOKS_LIKE_A_LINK = re.compile(r"[/\\@]|\w\.[^\W\d_]{2}")
_HOUR = timedelta(hours=1)
_DAYS_BEYOND = timedelta(hours=72)


@dataclass(frozen=True)
class Period:
    """`str` says it in English. In whole numbers, rounded down: nobody is promised too much."""

    span: timedelta

    @property
    def minutes(self) -> int:
        return max(self.span // timedelta(minutes=1), 1)

    @property
    def hours(self) -> int:
        return self.span // _HOUR

    @property
    def days(self) -> int:
        return self.span.days

    def __str__(self) -> str:
        if self.span > _DAYS_BEYOND:
            number, unit = self.days, "day"
        elif self.span == _HOUR or self.span >= 2 * _HOUR:
            number, unit = self.hours, "hour"
        else:
            number, unit = self.minutes, "minute"
        return f"{number} {unit}{'' if number == 1 else 's'}"


@dataclass(frozen=True, kw_only=True, repr=False)
class Letter:
    """What every mail knows. `tenant_url` is made from the tenant's row.

    Raises ValidationFailed, with the field, for a line break or another control character in any
    text, and for an address that no link can be made of.
    """

    template: ClassVar[str]

    to: str
    tenant_name: str
    tenant_url: str
    person_name: str | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            text = getattr(self, field.name)
            if isinstance(text, str) and not _is_line(text):
                raise _fault(field.name, "may not hold line breaks or other control characters")
        parts = urlsplit(self.tenant_url)
        if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
            raise _fault("tenant_url", "must be an address of the web")

    def __repr__(self) -> str:
        # An address is personal, and a token opens the door: neither may reach a log.
        return f"{type(self).__name__}(…)"

    def variables(self) -> dict[str, object]:
        """What its template may use, by name."""
        return {
            "to": self.to,
            "tenant_name": self.tenant_name,
            "tenant_url": self.tenant_url,
            "tenant_host": urlsplit(self.tenant_url).netloc,
            "person_name": _name(self.person_name),
        }


@dataclass(frozen=True, kw_only=True, repr=False)
class LinkLetter(Letter):
    """Brings a link to `page` at the tenant's own address, good once and for `valid_for`."""

    page: ClassVar[str]

    token: str
    valid_for: timedelta

    def variables(self) -> dict[str, object]:
        # Behind the #, the token is sent to no server, and so stands in no log.
        link = f"{self.tenant_url.rstrip('/')}{self.page}#token={quote(self.token, safe='')}"
        return {**super().variables(), "link": link, "valid_for": Period(self.valid_for)}


class Welcome(LinkLetter):
    """To the first admin: the tenant is there."""

    template = "welcome"
    page = "/setup"


class MagicLink(LinkLetter):
    """To somebody who signs in without a password."""

    template = "magic_link"
    page = "/magic-link"


class PasswordReset(LinkLetter):
    """To somebody who has asked for a new password."""

    template = "password_reset"
    page = "/password-reset"


@dataclass(frozen=True, kw_only=True, repr=False)
class PasswordChanged(Letter):
    """To somebody whose password was changed, at `changed_at` (aware), whoever did it."""

    template = "password_changed"

    changed_at: datetime

    def variables(self) -> dict[str, object]:
        return {**super().variables(), "changed_at": self.changed_at.astimezone(UTC)}


class VerifyEmail(LinkLetter):
    """To an address that somebody says is his."""

    template = "verify_email"
    page = "/verify-email"


@dataclass(frozen=True, kw_only=True, repr=False)
class RegistrationPending(Letter):
    """To somebody who has registered, and is kept waiting for at most `valid_for`."""

    template = "registration_pending"

    valid_for: timedelta

    def variables(self) -> dict[str, object]:
        return {**super().variables(), "valid_for": Period(self.valid_for)}


class RegistrationApproved(Letter):
    """To somebody who was let in."""

    template = "registration_approved"


@dataclass(frozen=True, kw_only=True, repr=False)
class RegistrationRejected(Letter):
    """To somebody who was not. `reason` is the decider's, one paragraph whatever it was.

    Raises ValidationFailed for a reason with a link, too: every link is to the tenant's own host.
    """

    template = "registration_rejected"

    reason: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", " ".join((self.reason or "").split()) or None)
        super().__post_init__()
        if self.reason and _SAYS_LINK.search(self.reason):
            raise _fault("reason", "may not hold a link")

    def variables(self) -> dict[str, object]:
        return {**super().variables(), "reason": self.reason}


@dataclass(frozen=True, kw_only=True, repr=False)
class Invitation(LinkLetter):
    """To somebody whom a person of the tenant wants to have there."""

    template = "invitation"
    page = "/invitation"

    inviter_name: str | None = None

    def variables(self) -> dict[str, object]:
        return {**super().variables(), "inviter_name": _name(self.inviter_name)}


LETTERS: tuple[type[Letter], ...] = (
    Welcome,
    MagicLink,
    PasswordReset,
    PasswordChanged,
    VerifyEmail,
    RegistrationPending,
    RegistrationApproved,
    RegistrationRejected,
    Invitation,
)


def _is_line(text: str) -> bool:
    return not any(unicodedata.category(character) in _NEVER_IN_A_LINE for character in text)


def _name(text: str | None) -> str | None:
    """None for what a stranger may have entered to have his own link sent to others."""
    stripped = (text or "").strip()
    return None if _LOOKS_LIKE_A_LINK.search(stripped) else stripped or None


def _fault(name: str, what: str) -> ValidationFailed:
    detail = f"The mail's {name} {what}."
    return ValidationFailed(detail, [FieldFault(f"/{name}", ValidationFailed.code, detail)])
