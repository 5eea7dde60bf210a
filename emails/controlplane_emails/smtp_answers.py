"""What a mail server's answers, and their absence, say of a mail. Pure.

The server's own words are not repeated: they quote addresses.
"""

import re
import ssl

from aiosmtplib.errors import (
    SMTPAuthenticationError,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPSenderRefused,
)

from controlplane.errors import ProviderRefused, ProviderUnavailable, SendUncertain, StepError

TAKEN = range(200, 300)
GO_AHEAD = 354
_LATER = range(400, 500)
_NEVER = range(500, 600)
# A login is missing, refused, too weak, or would have to be encrypted.
_LOGIN = {530, 534, 535, 538}
_CLASS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?=\s|$)")  # RFC 3463
_QUEUED = re.compile(r"\bqueued as ([A-Za-z0-9._-]{4,64})|\bid=([A-Za-z0-9._-]{4,64})")

NO_STARTTLS = (
    "The mail server offers no STARTTLS; nothing was sent. If it never does, use port 465 and "
    "CONTROLPLANE_MAIL_SMTP_SECURITY=tls; if it used to, somebody is in between."
)
NO_LOGIN = "The mail server takes no login here; leave CONTROLPLANE_MAIL_SMTP_USER out, or encrypt."


def answered(code: int, text: str) -> StepError:
    """What an answer to the mail itself means: to its recipient or content, other than yes."""
    told = _told(code, text)
    if code in _LOGIN:
        return _login(told)
    if code in _LATER:
        return ProviderUnavailable(f"The mail server asks to come back later ({told}).")
    if code in _NEVER:
        return ProviderRefused(f"The mail server refused the recipient or the mail ({told}).")
    return ProviderUnavailable(f"The mail server answered out of turn ({told}).")


def ended(code: int, text: str) -> StepError:
    """What an answer to the whole mail means, other than yes."""
    if code in _LATER or code in _NEVER:
        return answered(code, text)
    return SendUncertain(
        "The mail server answered what cannot be read; it may have taken the mail."
    )


def unsent(error: Exception) -> StepError:
    """What it means that a conversation ended before the mail was handed over."""
    if isinstance(error, SMTPRecipientRefused):
        return answered(error.code, error.message)
    if isinstance(error, SMTPResponseException):
        return _refused(error)
    if _distrusted(error):
        return ProviderUnavailable(
            "The mail server's certificate does not prove its name; nothing was sent. Mend it, or "
            "name its CA by CONTROLPLANE_MAIL_SMTP_CA_FILE."
        )
    return ProviderUnavailable(f"The mail server cannot be reached ({type(error).__name__}).")


def unanswered(error: Exception) -> SendUncertain:
    """What it means that a mail was handed over and no answer came."""
    return SendUncertain(
        f"The mail server did not answer ({type(error).__name__}); it may have taken the mail."
    )


def queue_id(text: str) -> str | None:
    """The server's name for what it took, where it tells one in a usual form."""
    found = _QUEUED.search(text)
    return (found[1] or found[2]) if found else None


def _refused(error: SMTPResponseException) -> ProviderUnavailable:
    """None of it is the mail's fault: it goes out once that is mended."""
    told = _told(error.code, error.message)
    if error.code in _LATER:
        return ProviderUnavailable(f"The mail server asks to come back later ({told}).")
    if isinstance(error, SMTPAuthenticationError) or error.code in _LOGIN:
        return _login(told)
    if isinstance(error, SMTPSenderRefused):
        return ProviderUnavailable(
            f"The mail server refused the sender ({told}): CONTROLPLANE_MAIL_FROM must be an address "
            "that it lets this login write from."
        )
    return ProviderUnavailable(f"The mail server does not talk to us ({told}).")


def _login(told: str) -> ProviderUnavailable:
    return ProviderUnavailable(
        f"The mail server refused the login ({told}): look at CONTROLPLANE_MAIL_SMTP_USER and "
        "CONTROLPLANE_MAIL_SMTP_PASSWORD."
    )


def _told(code: int, text: str) -> str:
    found = _CLASS.match(text)
    return f"{code} {found[0]}" if found else str(code)


def _distrusted(error: BaseException | None) -> bool:
    return error is not None and (
        isinstance(error, ssl.SSLCertVerificationError) or _distrusted(error.__cause__)
    )
