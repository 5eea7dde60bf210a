"""Mail as values. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class DeliveryState(StrEnum):
    """`sending` is the intent: found without a result, it becomes `uncertain` and is never
    sent again by itself."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True)
class Message:
    """A rendered mail. `message_id` is deterministic, so that receivers can recognise a repeat."""

    message_id: str
    to: str
    subject: str
    text: str
    html: str

    def __repr__(self) -> str:
        # Subject and bodies may hold a one-time link, the address is personal: neither may reach a log.
        return f"Message({self.message_id})"


class Fate(StrEnum):
    """What a provider tells later of a mail that it has taken."""

    TAKEN = "taken"
    DELIVERED = "delivered"
    REJECTED = "rejected"
    BOUNCED = "bounced"
    COMPLAINED = "complained"


@dataclass(frozen=True)
class MailEvent:
    """`provider_id` is the provider's id of the mail, `message_id` ours where it is known (without
    angle brackets). `reason` is for people; `for_good`: the address will never take mail."""

    fate: Fate
    provider_id: str
    message_id: str | None
    at: datetime
    reason: str = ""
    for_good: bool = False


# Whether the mail was taken is not known yet, or was misjudged.
_UNKNOWN = frozenset(
    {DeliveryState.QUEUED, DeliveryState.SENDING, DeliveryState.UNCERTAIN, DeliveryState.SENT}
)
_AFTER = {
    Fate.TAKEN: (DeliveryState.SENT, _UNKNOWN),
    Fate.DELIVERED: (DeliveryState.SENT, _UNKNOWN),
    Fate.REJECTED: (DeliveryState.FAILED, _UNKNOWN),
    Fate.BOUNCED: (DeliveryState.BOUNCED, _UNKNOWN),
    Fate.COMPLAINED: (DeliveryState.COMPLAINED, _UNKNOWN | {DeliveryState.BOUNCED}),
}


def state_after(state: DeliveryState, fate: Fate) -> DeliveryState:
    """Events come in any order, and more than once: what is worse stays."""
    following, before = _AFTER[fate]
    return following if state in before else state
