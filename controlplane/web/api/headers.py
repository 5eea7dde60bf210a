"""Request headers with a grammar of their own. Pure."""

import re

from controlplane.errors import FieldFault, ValidationFailed, VersionConflict, VersionRequired

LONGEST_WAIT_S = 30
KEY_CHARACTERS = 255
# RFC 8941: a string of printable ASCII in quotes, with \" and \\ as its only escapes.
_QUOTED = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_BARE = re.compile(r"[\x21\x23-\x7e]+")
_WAIT = re.compile(r"\s*wait\s*=\s*\"?([0-9]{1,6})\"?\s*(?:;.*)?", re.IGNORECASE)


# The two forms together, for the OpenAPI document.
KEY_PATTERN = (
    rf'^("([\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\]){{1,{KEY_CHARACTERS}}}"'
    rf"|[\x21\x23-\x7e]{{1,{KEY_CHARACTERS}}})$"
)


def idempotency_key(text: str | None) -> str | None:
    """The key, with or without the quotes of a structured field. Raises ValidationFailed."""
    if text is None:
        return None
    quoted = _QUOTED.fullmatch(text)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else text
    if (quoted or _BARE.fullmatch(text)) and 0 < len(key) <= KEY_CHARACTERS:
        return key
    detail = f"This must be a string of 1 to {KEY_CHARACTERS} printable ASCII characters."
    raise ValidationFailed(detail, [FieldFault("/header/Idempotency-Key", "invalid", detail)])


def preferred_wait_s(prefer: str | None) -> int | None:
    """The seconds of `Prefer: wait=N`, at most 30; a preference that is not understood is none."""
    for preference in (prefer or "").split(","):
        match = _WAIT.fullmatch(preference)
        if match:
            return min(int(match[1]), LONGEST_WAIT_S)
    return None


def check_version(if_match: str | None, current: str) -> None:
    """Raises VersionRequired without `If-Match`, and VersionConflict where it names neither the
    current version, which is the text between the quotes of an ETag, nor `*`."""
    if if_match is None:
        raise VersionRequired("Send the ETag of what you have read as If-Match.")
    # Compared strongly: a tag that begins with W/ is none of ours.
    tags = {tag.strip() for tag in if_match.split(",")}
    if not tags & {"*", f'"{current}"'}:
        raise VersionConflict("It has changed since you read it; read it again, then change that.")
