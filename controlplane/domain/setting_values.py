"""What the value of a tenant's setting may be. Each rule says what a value must be, where it is not."""

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from controlplane.domain import addresses

# None where the value fits, else what it must be.
Rule = Callable[[object], str | None]

TEXT_CHARACTERS = 2000
LEAVES = 500
JSON_DEPTH = 5
# Every whole number below it is exact in JavaScript, too.
_LARGEST = 10**15

_LOCALE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?")
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
_URL = re.compile(r"https://[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}


def line(longest: int, *, shortest: int = 0) -> Rule:
    """Text on one line, of so many characters."""

    def rule(value: object) -> str | None:
        if isinstance(value, str) and shortest <= len(value) <= longest and _printable(value):
            return None
        return f"a text of {shortest} to {longest} characters without control characters"

    return rule


def or_empty(rule: Rule) -> Rule:
    """Nothing at all, too."""

    def relaxed(value: object) -> str | None:
        wanted = None if value == "" else rule(value)
        return wanted and f"{wanted}, or empty"

    return relaxed


def locale(value: object) -> str | None:
    fits = isinstance(value, str) and _LOCALE.fullmatch(value)
    return None if fits else "a language tag such as en, pt-BR or zh-Hant"


def timezone(value: object) -> str | None:
    fits = isinstance(value, str) and value in _timezones()
    return None if fits else "the name of a time zone such as UTC or Europe/Paris"


@cache
def _timezones() -> frozenset[str]:
    return frozenset(available_timezones())


def color(value: object) -> str | None:
    fits = isinstance(value, str) and _COLOR.fullmatch(value)
    return None if fits else "a colour such as #1f6feb"


def address(value: object) -> str | None:
    fits = isinstance(value, str) and addresses.is_address(value)
    return None if fits else "a mail address"


def url(value: object) -> str | None:
    """Pages put it into an attribute: nothing but https, and no character that ends one."""
    fits = isinstance(value, str) and len(value) <= TEXT_CHARACTERS and _is_url(value)
    return None if fits else "an address that begins with https://"


def _is_url(text: str) -> bool:
    if not _URL.fullmatch(text):
        return False
    try:
        parts = urlsplit(text)
        return bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        return False


def boolean(value: object) -> str | None:
    return None if isinstance(value, bool) else "true or false"


def whole(smallest: int, largest: int) -> Rule:
    """A whole number in this range."""

    def rule(value: object) -> str | None:
        if isinstance(value, int) and not isinstance(value, bool) and smallest <= value <= largest:
            return None
        return f"a whole number from {smallest} to {largest}"

    return rule


def number(value: object) -> str | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST:
        return None
    return "a number below 1e15"


def document(value: object) -> str | None:
    """Any JSON, within bounds."""
    for count, (depth, leaf) in enumerate(_leaves(value, 0), start=1):
        if depth > JSON_DEPTH or count > LEAVES or _unfit(leaf):
            return f"JSON of at most {LEAVES} values, {JSON_DEPTH} deep, without control characters"
    return None


def _unfit(leaf: object) -> bool:
    if isinstance(leaf, str):
        return line(TEXT_CHARACTERS)(leaf) is not None
    return isinstance(leaf, int | float) and not isinstance(leaf, bool) and bool(number(leaf))


def _leaves(value: object, depth: int) -> Iterator[tuple[int, object]]:
    """Every key and value with its depth, without recursion: who sends it chooses how deep it is."""
    waiting = [(depth, value)]
    while waiting:
        depth, value = waiting.pop()
        yield depth, None if isinstance(value, dict | list) else value
        if isinstance(value, dict):
            waiting += [(depth + 1, inner) for pair in value.items() for inner in pair]
        elif isinstance(value, list):
            waiting += [(depth + 1, inner) for inner in value]


def _printable(text: str) -> bool:
    return not any(unicodedata.category(character) in _UNPRINTABLE for character in text)
