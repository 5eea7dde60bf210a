"""How a mail of ours is known again in what SES tells of it. Pure."""

import re

TAG = "controlplane-mail"

_UNFIT = re.compile(r"[^A-Za-z0-9_.@-]")
_LONGEST = 256


def tag_of(message_id: str) -> str:
    """The Message-ID as SES takes it for a tag's value."""
    return _UNFIT.sub("_", message_id.strip("<>"))[:_LONGEST]
