"""What of an upgrade's statements may hurt while tenants are served. Pure.

For a while app servers of two releases and schemas of two revisions are there at once, so a
revision expands first, and contracts in a later release.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from controlplane.tenancy.findings import Rule
from controlplane.tenancy.sqltext import parts, words

_BREAKS = "An app server of the release before still asks for what was there."
_READS = "It reads the whole table, and nobody writes to it meanwhile."
_REWRITES = "It writes the whole table anew, and nobody reads it meanwhile."
_LATER = "Leave it to a later release, when nobody asks for it any more."
# What follows ADD and DROP where that is no column; COLUMN may be left away.
_NO_COLUMN = r"(?!COLUMN\b|CONSTRAINT\b|CHECK\b|UNIQUE\b|PRIMARY\b|FOREIGN\b|EXCLUDE\b|NOT\b)"
# Patterns see one action of an ALTER TABLE at a time, behind the table's plain name.
_ALTERS = r"^ALTER TABLE \S+ "
_COLUMN = rf"{_ALTERS}ALTER (COLUMN )?(?!COLUMN\b)\S+"
_ADDS = rf"{_ALTERS}ADD (COLUMN (IF NOT EXISTS )?|{_NO_COLUMN})"
_DROPS = rf"{_ALTERS}DROP (COLUMN\b|{_NO_COLUMN})"
_RESTRICTS = r"(CHECK|FOREIGN KEY|UNIQUE|EXCLUDE|PRIMARY KEY)\b"
# Another value for each row, so each is written.
_VOLATILE = (
    r"(gen_random_uuid|uuidv[47]|uuid_generate_v\d\w*|clock_timestamp|timeofday|random|nextval)"
)

RULES: list[tuple[str, Rule]] = [
    (r"^DROP (TABLE|VIEW|MATERIALIZED VIEW)\b", Rule("drops-table", _BREAKS, _LATER)),
    (_DROPS, Rule("drops-column", _BREAKS, _LATER)),
    (r"^REVOKE\b", Rule("revokes", _BREAKS, _LATER)),
    (
        rf"{_ALTERS}RENAME\b|^ALTER (VIEW|MATERIALIZED VIEW) .*\bRENAME\b",
        Rule("renames", _BREAKS, "Add the new one, copy, and drop the old one in a later release."),
    ),
    (
        rf"{_COLUMN} (SET DATA )?TYPE\b",
        Rule("changes-type", _REWRITES, "Add a column of the new type beside it."),
    ),
    (
        (
            rf"{_ADDS}.*(\bDEFAULT\b.*\b{_VOLATILE} ?\(|\) ?STORED\b)"
            rf"|{_ALTERS}SET (LOGGED|UNLOGGED|ACCESS METHOD|TABLESPACE)\b|^CLUSTER\b"
        ),
        Rule("rewrites-table", _REWRITES, "Add the column without, and fill it in batches."),
    ),
    (
        rf"{_COLUMN} SET NOT NULL\b|{_ALTERS}ADD (CONSTRAINT \S+ )?NOT NULL\b",
        Rule(
            "sets-not-null",
            "An app server of the release before may write NULL; and it reads the whole table.",
            "Give the column a default first, and set NOT NULL in a later release.",
        ),
    ),
    (
        rf"{_COLUMN} DROP DEFAULT\b",
        Rule("removes-default", "An app server of the release before may rely on it.", _LATER),
    ),
    (
        rf"{_ADDS}(?!.*\b(DEFAULT|GENERATED)\b).*\bNOT NULL\b",
        Rule(
            "adds-not-null",
            "It fails on a table with rows, and for app servers of the release before.",
            "Give it a default, or allow NULL.",
        ),
    ),
    (
        _ADDS,
        Rule(
            "adds-column",
            "A `SELECT *` or `RETURNING *` that an app server has prepared fails where the tenant before"
            " had other columns ('cached plan must not change result type').",
            "Name the columns, as SQLAlchemy's models do.",
        ),
    ),
    (
        rf"{_ALTERS}ADD (CONSTRAINT \S+ )?{_RESTRICTS}|^CREATE UNIQUE INDEX\b",
        Rule(
            "restricts-rows",
            "An app server of the release before may write what it does not allow.",
            "Leave it to a release after the one that writes accordingly.",
        ),
    ),
    (
        (
            rf"{_ALTERS}ADD (CONSTRAINT \S+ )?(?!.*\bNOT VALID\b|.*\bUSING INDEX (?!TABLESPACE\b))"
            rf"{_RESTRICTS}"
        ),
        Rule("checks-rows", _READS, "Add it NOT VALID, where the table may be large."),
    ),
    (
        r"^CREATE (UNIQUE )?INDEX\b|^REINDEX\b|^REFRESH MATERIALIZED VIEW\b",
        Rule("builds-index", _READS, "Fine for small tables; mind those that may be large."),
    ),
    (
        r"^(UPDATE|DELETE|MERGE)\b|^WITH\b.*\b(UPDATE (ONLY )?\S+ SET|DELETE FROM|MERGE INTO)\b",
        Rule(
            "changes-rows",
            "It keeps all of these rows locked until every statement of the upgrade has ended.",
            "Fine for few rows; for many write a data revision with batches (`batch`).",
        ),
    ),
    (
        r"^TRUNCATE\b",
        Rule("empties-table", "The rows are gone for good.", "See that this is what is meant."),
    ),
    (
        r"^LOCK\b",
        Rule(
            "locks-table", "It keeps others waiting until the end.", "PostgreSQL locks by itself."
        ),
    ),
]
# Of what holds together, and no statement alone does.
VALIDATES_AT_ONCE = Rule(
    "validates-at-once",
    "It reads the whole table under the lock of the statement that has added it.",
    "Validate in a revision of a later release: all of one go in one transaction.",
)
HOLDS_SEVERAL = Rule(
    "holds-several",
    "It may wait as long as the lock timeout, and readers of the table changed before wait with it.",
    "Change one table in each release, or roll out with a shorter `--lock-timeout`.",
)
_COMPILED = [(re.compile(pattern, re.IGNORECASE), rule) for pattern, rule in RULES]
_NAME = r"([^\s(,;*]+)"
_MADE = re.compile(rf"^CREATE (?:UNLOGGED )?TABLE (?:IF NOT EXISTS )?{_NAME}", re.IGNORECASE)
_ACTIONS = re.compile(
    rf"^ALTER TABLE (?:IF EXISTS )?(?:ONLY )?{_NAME}(?: ?\*)? (.*)", re.IGNORECASE
)
_TABLE = re.compile(
    r"^(?:ALTER TABLE|CREATE (?:UNIQUE )?INDEX .*?\bON|UPDATE|DELETE FROM|TRUNCATE(?: TABLE)?"
    r"|LOCK(?: TABLE)?|DROP TABLE|(?:CREATE|ALTER|DROP) POLICY (?:IF EXISTS )?\S+ ON)"
    rf" (?:IF EXISTS )?(?:ONLY )?{_NAME}",
    re.IGNORECASE,
)
# Their locks are on rows: nobody waits for the table.
_ROWS = re.compile(r"^(UPDATE|DELETE)\b", re.IGNORECASE)
_REFERENCES = re.compile(rf"\bREFERENCES {_NAME}", re.IGNORECASE)
_UNCHECKED = re.compile(r"\bADD CONSTRAINT (\S+) .*\bNOT VALID\b", re.IGNORECASE)
_CHECKED = re.compile(r"\bVALIDATE CONSTRAINT (\S+)", re.IGNORECASE)
_VERSIONS = "alembic_version"


@dataclass(frozen=True)
class _Told:
    """A statement, what it says, action by action, the table that it changes, if that was there before,
    and those that it locks as well."""

    statement: str
    says: tuple[str, ...]
    table: str | None
    refers: frozenset[str]


def warnings(statements: Iterable[str]) -> Iterator[tuple[Rule, str]]:
    """Rules with the statements that they speak of; a table that is made on the way is nobody's yet."""
    told = list(_told(statements))
    for each in told:
        for pattern, rule in _COMPILED:
            if any(map(pattern.search, each.says)):
                yield rule, each.statement
    yield from _validated_at_once(told)
    yield from _several(told)


def _told(statements: Iterable[str]) -> Iterator[_Told]:
    nobodys = {_VERSIONS}
    for statement in statements:
        line = words(statement)
        if made := _MADE.match(line):
            nobodys.add(_key(made[1]))
        found = _TABLE.match(line)
        table = _key(found[1]) if found else None
        if table not in nobodys:
            refers = frozenset(map(_key, _REFERENCES.findall(line)))
            yield _Told(statement, _actions(line), table, refers - nobodys)


def _actions(line: str) -> tuple[str, ...]:
    found = _ACTIONS.match(line)
    if found is None:
        return (line,)
    return tuple(f"ALTER TABLE {found[1]} {action}" for action in parts(found[2]))


def _key(name: str) -> str:
    """The same for a table, whether it is quoted or not."""
    return name.rpartition(".")[2].lower().removesuffix("_")


def _validated_at_once(told: Iterable[_Told]) -> Iterator[tuple[Rule, str]]:
    added: set[str] = set()
    for each in told:
        added.update(name for action in each.says for name in _UNCHECKED.findall(action))
        if added.intersection(name for action in each.says for name in _CHECKED.findall(action)):
            yield VALIDATES_AT_ONCE, each.statement


def _several(told: Iterable[_Told]) -> Iterator[tuple[Rule, str]]:
    """Once: it says it of all that follow."""
    held: set[str] = set()
    for each in told:
        changed = set() if each.table is None else {each.table}
        if held and (changed | each.refers) - held:
            yield HOLDS_SEVERAL, each.statement
            return
        if not _ROWS.match(each.says[0]):
            held |= changed
