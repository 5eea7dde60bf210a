"""What of an upgrade's statements may hurt while tenants are served. Pure.

For a while app servers of two releases and schemas of two revisions are there at once, so a
revision expands first, and contracts in a later release.
"""

import re
from collections.abc import Iterable, Iterator

from controlplane.tenancy.findings import Rule
from controlplane.tenancy.sqltext import without_literals

_BREAKS = "An app server of the release before still asks for what was there."
_READS = "It reads the whole table, and nobody writes to it meanwhile."
_REWRITES = "It writes the whole table anew, and nobody reads it meanwhile."
_LATER = "Leave it to a later release, when nobody asks for it any more."

RULES: list[tuple[str, Rule]] = [
    (r"^DROP TABLE\b", Rule("drops-table", _BREAKS, _LATER)),
    (r"^ALTER TABLE .*\bDROP COLUMN\b", Rule("drops-column", _BREAKS, _LATER)),
    (
        r"^ALTER TABLE .*\bRENAME\b",
        Rule("renames", _BREAKS, "Add the new one, copy, and drop the old one in a later release."),
    ),
    (
        r"^ALTER TABLE .*\bALTER COLUMN\b.*\bTYPE\b",
        Rule("changes-type", _REWRITES, "Add a column of the new type beside it."),
    ),
    (
        r"^ALTER TABLE .*\bALTER COLUMN\b.*\bSET NOT NULL\b",
        Rule(
            "sets-not-null",
            "An app server of the release before may write NULL; and it reads the whole table.",
            "Give the column a default first, and set NOT NULL in a later release.",
        ),
    ),
    (
        r"^ALTER TABLE .*\bADD COLUMN\b(?!.*\bDEFAULT\b).*\bNOT NULL\b",
        Rule(
            "adds-not-null",
            "It fails on a table with rows, and for app servers of the release before.",
            "Give it a default, or allow NULL.",
        ),
    ),
    (
        r"^ALTER TABLE .*\bADD CONSTRAINT\b(?!.*\bNOT VALID\b).*\b(CHECK|FOREIGN KEY|UNIQUE)\b",
        Rule("checks-rows", _READS, "Add it NOT VALID, where the table may be large."),
    ),
    (
        r"^CREATE (UNIQUE )?INDEX\b",
        Rule("builds-index", _READS, "Fine for small tables; mind those that may be large."),
    ),
]
_COMPILED = [(re.compile(pattern, re.IGNORECASE), rule) for pattern, rule in RULES]
_MADE = re.compile(r"^CREATE TABLE (\S+)", re.IGNORECASE)
_TABLE = re.compile(
    r"(?:^ALTER TABLE (?:ONLY )?|^CREATE (?:UNIQUE )?INDEX .*?\bON )(\S+)", re.IGNORECASE
)


def warnings(statements: Iterable[str]) -> Iterator[tuple[Rule, str]]:
    """Rules with the statements that they speak of; a table that is made on the way is nobody's yet."""
    made: set[str] = set()
    for statement in statements:
        words = " ".join(without_literals(statement).split())
        if found := _MADE.match(words):
            made.add(found[1])
        table = _TABLE.match(words)
        if table is not None and table[1] in made:
            continue
        for pattern, rule in _COMPILED:
            if pattern.search(words):
                yield rule, statement
