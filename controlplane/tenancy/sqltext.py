"""Cutting SQL text into single statements, exactly. Pure."""

import re
from collections.abc import Iterator

# One lexeme at a time: whatever may hold a semicolon that ends nothing, or a single character.
# E'' strings know the backslash; standard strings do not (standard_conforming_strings is on).
_LEXEME = re.compile(
    r"""
      (?P<comment>--[^\n]*)
    | (?P<block>/\*)
    | (?P<escape>(?<![\w$])[eE]'(?:[^'\\]|\\.|'')*')
    | (?P<string>'(?:[^']|'')*')
    | (?P<name>"(?:[^"]|"")*")
    | (?P<dollar>(?<![\w$])(?P<tag>\$(?:[A-Za-z_]\w*)?\$).*?(?P=tag))
    | (?P<open>(?<![\w$])(?:[eE]'|\$(?:[A-Za-z_]\w*)?\$)|['"])
    | (?P<end>;)
    | (?P<other>[^;'"$eE/-]+|.)
    """,
    re.DOTALL | re.VERBOSE,
)
_BLOCK_EDGE = re.compile(r"/\*|\*/")
_SIGN = re.compile(r"\W")
_MAYBE = re.compile(r"\bif (not )?exists ")


def statements(sql: str) -> list[str]:
    """The statements without comments, semicolons and surrounding space.

    Raises ValueError where a string, name or comment is not closed.
    """
    found, current = [], ""
    for kind, text in _lexemes(sql):
        if kind == "end":
            found.append(current.strip())
            current = ""
        else:
            current += " " if kind in {"comment", "block"} else text
    return [statement for statement in [*found, current.strip()] if statement]


def without_literals(sql: str) -> str:
    """The statement with every literal emptied, so that rules judge only its words."""
    literal = {"escape", "string", "dollar"}
    return "".join("''" if kind in literal else text for kind, text in _lexemes(sql))


def words(sql: str) -> str:
    """The statement on one line, as `without_literals`; a quoted name is one word, and never a keyword's."""
    literal = {"escape", "string", "dollar"}
    told = (
        "''" if kind in literal else f"{_SIGN.sub('_', text[1:-1])}_" if kind == "name" else text
        for kind, text in _lexemes(sql)
    )
    return " ".join("".join(told).split())


def plain(sql: str) -> str:
    """The statement on one line, in lower case but for literals and quoted names, and saying of nothing
    that it need not be there: whatever means the same reads the same."""
    kept = {"escape", "string", "dollar", "name"}
    told = (text if kind in kept else text.lower() for kind, text in _lexemes(sql))
    return _MAYBE.sub("", " ".join("".join(told).split()))


def parts(sql: str) -> list[str]:
    """What stands between the commas that are in no parentheses: the actions of an ALTER TABLE."""
    found, depth = [""], 0
    for kind, text in _lexemes(sql):
        for sign in text if kind == "other" else [text]:
            depth += (sign in {"(", "["}) - (sign in {")", "]"})
            if sign == "," and not depth:
                found.append("")
            else:
                found[-1] += sign
    return [part.strip() for part in found]


def _lexemes(sql: str) -> Iterator[tuple[str, str]]:
    at = 0
    while match := _LEXEME.match(sql, at):
        kind = match.lastgroup or "other"
        end = _end_of_block(sql, at) if kind == "block" else match.end()
        text = sql[at:end]
        if kind == "open":
            raise ValueError(f"{text} at character {at} is not closed")
        yield ("dollar" if match["dollar"] else kind), text
        at = end


def _end_of_block(sql: str, start: int) -> int:
    """Block comments nest in PostgreSQL."""
    depth, at = 1, start + 2
    while edge := _BLOCK_EDGE.search(sql, at):
        depth += 1 if edge[0] == "/*" else -1
        at = edge.end()
        if depth == 0:
            return at
    raise ValueError(f"/* at character {start} is not closed")
