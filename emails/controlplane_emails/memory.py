"""Mail into a list, for tests and for trying things out."""

from dataclasses import dataclass
from datetime import UTC, datetime

from controlplane.domain.mail import Message
from controlplane_emails.mime import compose, parse_sender

_SENDER = parse_sender("no-reply@localhost")


@dataclass
class Fault:
    """Makes the next `times` sends raise, before or after the mail is taken."""

    error: Exception
    after_effect: bool = False
    times: int = 1


class MemorySender:
    """`sent` holds what was taken, in order; `faults` are still to come."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.faults: list[Fault] = []

    async def send(self, message: Message) -> str:
        """Returns `memory-<number>`."""
        self._fail(after_effect=False)
        compose(message, sender=_SENDER, date=datetime.now(UTC))
        self.sent.append(message)
        self._fail(after_effect=True)
        return f"memory-{len(self.sent)}"

    def _fail(self, *, after_effect: bool) -> None:
        for fault in self.faults:
            if fault.after_effect == after_effect:
                fault.times -= 1
                if not fault.times:
                    self.faults.remove(fault)
                raise fault.error
