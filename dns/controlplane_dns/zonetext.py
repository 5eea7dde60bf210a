"""A master file (RFC 1035) as lines that keep every byte. Pure.

The text is what latin-1 makes of the file's bytes, so that it can be written back unchanged
whatever its encoding is.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from controlplane.domain.dns import OwnedRecord, Record, RecordType
from controlplane.domain.naming import Mark, Subdomain, parse_mark
from controlplane.errors import ProviderUnavailable

_SPACE = " \t\r\n"
_PHYSICAL = re.compile(r"[^\n]*\n|[^\n]+")
_WORD = r'(?:[^ \t\r\n;()"\\]|\\.)+'
_TOKEN = re.compile(rf'(?P<word>{_WORD}|"(?:[^"\\\n]|\\.)*")|(?P<paren>[()])|[ \t\r\n]+|;[^\n]*')
_FIRST_WORD = re.compile(rf'{_WORD}|"(?:[^"\\\n]|\\.)*"')
# Nearly every line of a large zone begins like this; the rest may take its time.
_PLAIN_OWNER = re.compile(r"([a-z0-9-]+)[ \t]")
_ESCAPE = re.compile(r"\\(\d{3}|.)")
_GENERATED = re.compile(r"\\?\$(?:\\?\{[^}]*\\?\})?")
_TTL_OR_CLASS = re.compile(r"\d[0-9smhdw]*|in|ch|hs", re.IGNORECASE)
_OWNED = re.compile(
    r"(?P<label>[a-z0-9-]{1,63})\S*[ \t]+(?P<ttl>[0-9]{1,10})[ \t]+IN[ \t]+(?P<type>A|AAAA|CNAME)"
    r'[ \t]+(?P<value>[^ \t\r\n;()"\\]+)[ \t]*;[ \t]*(?P<mark>controlplane/[0-9a-f/-]+)[ \t\r]*\n?'
)


class Line(NamedTuple):
    """A record, directive or comment with all its physical lines.

    `owner` is the absolute name in lower case that a record stands at, empty for anything else;
    `origin` is what a relative name on the next line is relative to; `pattern` matches the names
    that a $GENERATE makes.
    """

    text: str
    owner: str
    origin: str
    pattern: re.Pattern[str] | None = None

    def holds(self, name: str) -> bool:
        """Whether a record stands at this absolute name in lower case."""
        return self.owner == name or bool(self.pattern and self.pattern.fullmatch(name))

    @property
    def continues(self) -> bool:
        """Whether it is a record that takes its owner from the record above."""
        return bool(self.owner) and self.text[0] in _SPACE


def read(text: str, *, zone: str) -> list[Line]:
    """The lines of the file; `zone` is the initial origin, without its final dot.

    Raises ProviderUnavailable, with the line's number, for a file that no server could load.
    """
    lines: list[Line] = []
    owner = origin = f"{zone}."
    for entry in _entries(text):
        line = _line(entry, owner, origin)
        owner, origin = line.owner or owner, line.origin
        lines.append(line)
    return lines


def owned_record(line: Line, *, zone: str) -> OwnedRecord | None:
    """The record and its mark, if the line is exactly what this package writes."""
    found = _OWNED.fullmatch(line.text)
    mark = parse_mark(found["mark"]) if found else None
    if not found or not mark or line.owner != f"{found['label']}.{zone}.":
        return None
    if line.text.split(maxsplit=1)[0] not in (found["label"], line.owner):
        return None
    name = Subdomain(found["label"])
    return OwnedRecord(
        Record(name, RecordType(found["type"]), found["value"], int(found["ttl"])), mark
    )


def spelled(record: Record, mark: Mark) -> str:
    """The line of a tenant's record; the record must be canonical."""
    return f"{record.name} {record.ttl} IN {record.type} {record.value} ; {mark}\n"


def serial_span(line: Line) -> tuple[int, int] | None:
    """Where in the line's text the serial stands, if the line is an SOA record."""
    tokens = [token for token in _tokens(line.text) if token["word"]]
    if not line.continues:
        tokens = tokens[1:]
    while tokens and _TTL_OR_CLASS.fullmatch(tokens[0][0]):
        tokens = tokens[1:]
    match tokens:
        case [kind, _, _, serial, *_] if kind[0].upper() == "SOA" and serial[0].isdecimal():
            return serial.span()
    return None


def _entries(text: str) -> Iterator[str]:
    entry, depth = "", 0
    for number, physical in enumerate(_PHYSICAL.findall(text), start=1):
        entry += physical
        depth += _nesting(physical, number)
        if depth < 0:
            raise ProviderUnavailable(f"Line {number} closes a parenthesis that was never opened.")
        if depth == 0:
            yield entry
            entry = ""
    if depth:
        raise ProviderUnavailable("The last parenthesis is never closed.")


def _nesting(physical: str, number: int) -> int:
    if not ("(" in physical or ")" in physical or '"' in physical):
        return 0
    tokens = list(_tokens(physical))
    if sum(len(token[0]) for token in tokens) != len(physical):
        raise ProviderUnavailable(f"Line {number} has a quotation mark that is never closed.")
    return sum({"(": 1, ")": -1}.get(token[0], 0) for token in tokens if token["paren"])


def _tokens(text: str) -> Iterator[re.Match[str]]:
    return _TOKEN.finditer(text)


def _line(entry: str, owner: str, origin: str) -> Line:
    plain = _PLAIN_OWNER.match(entry)
    if plain and origin != ".":
        return Line(entry, f"{plain[1]}.{origin}", origin)
    if entry.lstrip(_SPACE)[:1] in ("", ";"):
        return Line(entry, "", origin)
    if entry[0] in _SPACE:
        return Line(entry, owner, origin)
    if entry[0] == "$":
        return _directive(entry, origin)
    first = _FIRST_WORD.match(entry)
    return Line(entry, absolute(first[0], origin) if first else owner, origin)


def _directive(entry: str, origin: str) -> Line:
    words = [token["word"] for token in _tokens(entry) if token["word"]]
    match [words[0].upper(), *words[1:]]:
        case ["$ORIGIN", name, *_]:
            return Line(entry, "", absolute(name, origin))
        case ["$GENERATE", _, name, *_]:
            # Which numbers it makes does not matter: none of these names is given to a tenant.
            whole = absolute(_GENERATED.sub("\0", name), origin)
            return Line(entry, "", origin, re.compile(re.escape(whole).replace("\0", "[0-9a-f.]+")))
    return Line(entry, "", origin)


def absolute(name: str, origin: str) -> str:
    """The name with its final dot, in lower case and without escapes."""
    if name == "@":
        return origin
    plain = _ESCAPE.sub(_unescaped, name.strip('"')).lower()
    if name.endswith(".") and not name.endswith("\\."):
        return plain
    return f"{plain}." if origin == "." else f"{plain}.{origin}"


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[1])) if escape[1].isdecimal() else escape[1]
