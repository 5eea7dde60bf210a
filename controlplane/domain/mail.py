"""Mail as values. Pure."""

from dataclasses import dataclass
from enum import StrEnum


class DeliveryState(StrEnum):
    """`sending` is the intent: found without a result, it becomes `uncertain` and is never
    sent again by itself."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    BOUNCED = "bounced"
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
