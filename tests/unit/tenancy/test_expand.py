"""Which statements may hurt while tenants are served."""

import re
from pathlib import Path

import pytest

from controlplane.tenancy.expand import HOLDS_SEVERAL, RULES, VALIDATES_AT_ONCE, warnings

GUIDE = Path(__file__).parents[3] / "docs" / "how-to" / "rollouts.md"
FIRED = {
    "DROP TABLE notes": "drops-table",
    "DROP VIEW latest": "drops-table",
    "ALTER TABLE notes DROP COLUMN title": "drops-column",
    "ALTER TABLE notes DROP title": "drops-column",
    "REVOKE UPDATE ON notes FROM readers": "revokes",
    "ALTER TABLE notes RENAME title TO heading": "renames",
    "ALTER TABLE notes ALTER COLUMN title TYPE varchar(9)": "changes-type",
    "ALTER TABLE notes ALTER title SET DATA TYPE varchar(9)": "changes-type",
    "ALTER TABLE notes SET UNLOGGED": "rewrites-table",
    "ALTER TABLE notes ADD COLUMN key uuid DEFAULT gen_random_uuid()": "rewrites-table adds-column",
    "ALTER TABLE notes ADD size int GENERATED ALWAYS AS (1) STORED": "rewrites-table adds-column",
    "ALTER TABLE notes ADD size int GENERATED ALWAYS AS (1)": "adds-column",
    "ALTER TABLE notes ALTER COLUMN title SET NOT NULL": "sets-not-null",
    "ALTER TABLE notes ALTER COLUMN title DROP DEFAULT": "removes-default",
    "ALTER TABLE notes ADD COLUMN title text NOT NULL": "adds-not-null adds-column",
    "ALTER TABLE notes ADD COLUMN title text DEFAULT '' NOT NULL": "adds-column",
    "ALTER TABLE notes ADD COLUMN title text": "adds-column",
    "ALTER TABLE notes ADD COLUMN IF NOT EXISTS title text": "adds-column",
    "ALTER TABLE notes ADD CONSTRAINT short CHECK (true)": "restricts-rows checks-rows",
    "ALTER TABLE notes ADD UNIQUE (title)": "restricts-rows checks-rows",
    "ALTER TABLE notes ADD CONSTRAINT key PRIMARY KEY (id)": "restricts-rows checks-rows",
    "ALTER TABLE notes ADD CONSTRAINT short CHECK (true) NOT VALID": "restricts-rows",
    "CREATE INDEX ix_notes_title ON notes (title)": "builds-index",
    "CREATE UNIQUE INDEX ix_notes_title ON notes (title)": "restricts-rows builds-index",
    "UPDATE notes SET title = ''": "changes-rows",
    "DELETE FROM notes": "changes-rows",
    "TRUNCATE notes": "empties-table",
    "LOCK TABLE notes": "locks-table",
}


def _names(*statements):
    return [rule.name for rule, _ in warnings(statements)]


@pytest.mark.parametrize(("statement", "rules"), FIRED.items())
def test_a_statement_is_warned_of(statement, rules):
    assert list(warnings([statement])) == [
        (rule, statement) for _, rule in RULES if rule.name in rules.split()
    ]
    assert sorted(_names(statement)) == sorted(rules.split())


def test_each_rule_fires():
    assert {name for names in FIRED.values() for name in names.split()} == {
        rule.name for _, rule in RULES
    }


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE books (id int)",
        "ALTER TABLE notes ALTER COLUMN title DROP NOT NULL",
        "ALTER TABLE notes ALTER COLUMN title SET DEFAULT 'DROP TABLE notes'",
        "ALTER TABLE notes DROP CONSTRAINT short",
        "ALTER TABLE notes VALIDATE CONSTRAINT short",
        "DROP INDEX ix_notes_title",
        "GRANT SELECT ON notes TO readers",
        "UPDATE alembic_version SET version_num = 'own_0002'",
        "INSERT INTO notes (id) VALUES (1)",
    ],
)
def test_what_only_adds_hurts_nobody(statement):
    assert _names(statement) == []


def test_the_guide_tells_of_every_warning():
    _, _, table = GUIDE.read_text(encoding="utf-8").partition("| Warning |")
    names = "".join(re.findall(r"^\| (`[a-z].*?) \|", table.partition("\n\n")[0], re.MULTILINE))
    listed = set(re.findall("`([a-z-]+)`", names))
    rules = {rule.name for _, rule in RULES} | {VALIDATES_AT_ONCE.name, HOLDS_SEVERAL.name}
    assert rules <= listed
    assert listed - rules == {"served-unknown", "empty-ring"}


def test_a_table_that_is_made_on_the_way_is_nobodys_yet():
    index = "CREATE INDEX ix_notes_title ON notes (title)"
    made = [
        "CREATE TABLE books (id int)",
        "CREATE INDEX i ON books (id)",
        "DELETE FROM books",
        index,
    ]
    assert [text for _, text in warnings(made)] == [index]


def test_what_is_validated_where_it_was_added_is_warned_of():
    add = "ALTER TABLE notes ADD CONSTRAINT short CHECK (true) NOT VALID"
    validate = "ALTER TABLE notes VALIDATE CONSTRAINT short"
    assert _names(add, validate) == ["restricts-rows", VALIDATES_AT_ONCE.name]
    assert _names(add, validate.replace("short", "other")) == ["restricts-rows"]


def test_a_second_table_that_is_waited_for_is_warned_of_once():
    changes = [
        f"ALTER TABLE {name} ALTER title DROP NOT NULL" for name in ("a", "a", "b", "a", "c")
    ]
    assert list(warnings(changes)) == [(HOLDS_SEVERAL, changes[2])]
    assert _names("CREATE TABLE b (id int)", *changes[:4]) == []
