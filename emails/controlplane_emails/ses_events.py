"""What SES says of mails, by event publishing or by feedback notifications. Pure.

https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
"""

import json
import re
from datetime import UTC, datetime
from typing import Any

from controlplane.domain.mail import Fate, MailEvent
from controlplane_emails.ses_tag import TAG

_FATES = {
    "Send": Fate.TAKEN,
    "Delivery": Fate.DELIVERED,
    "Reject": Fate.REJECTED,
    "Bounce": Fate.BOUNCED,
    "Complaint": Fate.COMPLAINED,
}
_WORD = re.compile(r"[A-Za-z-]{1,40}")
_LONGEST = 512
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")


def parse_event(text: str) -> MailEvent | None:
    """The event; None for what is none that concerns us, such as SES's greeting of a new topic.

    Nothing of it is quoted but words of SES's own: diagnostics hold addresses.
    """
    try:
        told = json.loads(text)
        return _event(told)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return None


def _event(told: dict[str, Any]) -> MailEvent | None:
    kind = told.get("eventType") or told["notificationType"]
    if kind not in _FATES:
        return None
    fate, details = _FATES[kind], told.get(kind.lower(), {})
    tags = told["mail"].get("tags", {}).get(TAG, [None])
    return MailEvent(
        fate=fate,
        provider_id=_text(told["mail"]["messageId"]),
        message_id=None if tags[0] is None else _text(tags[0]),
        at=_time(details.get("timestamp") or told["mail"]["timestamp"]),
        reason=_reason(fate, details),
        for_good=fate is Fate.BOUNCED and details.get("bounceType") == "Permanent",
    )


def _reason(fate: Fate, details: dict[str, Any]) -> str:
    if fate is Fate.BOUNCED:
        statuses = [one.get("status") for one in details.get("bouncedRecipients", [])]
        words = [details.get("bounceType"), details.get("bounceSubType"), *statuses[:1]]
    else:
        words = [details.get("complaintFeedbackType")]
    known = [str(word) for word in words if _harmless(word)]
    return ", ".join(known) or "no reason given"


def _harmless(word: object) -> bool:
    return isinstance(word, str) and bool(_WORD.fullmatch(word) or _STATUS.fullmatch(word))


def _text(value: object) -> str:
    # PostgreSQL takes no NUL, and no id is long.
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= _LONGEST:
        raise ValueError("not an id")
    return value


def _time(value: object) -> datetime:
    at = datetime.fromisoformat(str(value))
    return at if at.tzinfo else at.replace(tzinfo=UTC)
