"""Mail addresses as this system accepts them: plain ASCII, one of each kind. Pure."""

import re

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# No quoted local part and no address literal: nobody has one, and mail headers are safer without.
PATTERN = rf"{_ATOM}(?:\.{_ATOM})*@(?:(?:{_LABEL}\.)+{_LABEL}|localhost)"
MAX_CHARACTERS = 254
_MAX_LOCAL = 64
_WHOLE = re.compile(PATTERN)


def is_address(text: str) -> bool:
    """Whether the text is one mail address, `local@domain`, and nothing else."""
    local, _, domain = text.rpartition("@")
    return (
        len(text) <= MAX_CHARACTERS
        and len(local) <= _MAX_LOCAL
        and _WHOLE.fullmatch(text) is not None
        and not domain.rpartition(".")[2].isdigit()
    )
