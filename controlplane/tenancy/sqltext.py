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
