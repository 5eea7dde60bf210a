"""What the statements of a way back take away for good. Pure."""

import re
from collections.abc import Iterable, Iterator

from controlplane.tenancy.sqltext import parts, without_literals
from controlplane.tenancy.versions import VERSIONS

_TABLE = re.compile(
    r"^(DROP TABLE|ALTER TABLE|DELETE FROM|TRUNCATE(?: TABLE)?|UPDATE)(?: IF EXISTS)?(?: ONLY)?"
    r' ("[^"]+"|[^\s(,;]+)',
    re.IGNORECASE,
)
_NAME = re.compile(r'(?:ONLY )?((?:"[^"]+"|[^\s("*])+)', re.IGNORECASE)
# These may name several tables.
_LISTS = frozenset(["DROP", "TRUNCATE"])
_COLUMN = re.compile(
    r'\bDROP (?!CONSTRAINT\b)(?:COLUMN )?(?:IF EXISTS )?("[^"]+"|[^\s(,;]+)', re.IGNORECASE
)
_NO_COLUMNS = frozenset(["DEFAULT", "NOT", "EXPRESSION", "IDENTITY"])
_TOLD = {
    "DROP": "the table {table} with its rows",
    "DELETE": "rows of {table}",
    "TRUNCATE": "every row of {table}",
    "UPDATE": "what rows of {table} held before they are changed",
}


def losses(statements: Iterable[str]) -> Iterator[str]:
    """One phrase for each table, column or rows that are gone afterwards."""
    for statement in statements:
        words = " ".join(without_literals(statement).split())
        table = _TABLE.match(words)
        if table is None or table[2].rpartition(".")[2] == VERSIONS:
            continue
        verb = table[1].partition(" ")[0].upper()
        if verb == "ALTER":
            yield from _columns(words, table[2])
        else:
            for name in _names(words[table.start(2) :]) if verb in _LISTS else [table[2]]:
                yield _TOLD[verb].format(table=name)


def _names(listed: str) -> Iterator[str]:
    for part in parts(listed):
        if found := _NAME.match(part):
            yield found[1]


def _columns(words: str, table: str) -> Iterator[str]:
    for column in _COLUMN.finditer(words):
        if column[1].upper() not in _NO_COLUMNS:
            yield f"the column {column[1]} of {table} with what it holds"
