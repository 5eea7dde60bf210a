"""Which statements may hurt while tenants are served."""

import pytest

from controlplane.tenancy.expand import RULES, warnings

FIRED = {
    "drops-table": "DROP TABLE notes",
    "drops-column": "ALTER TABLE notes DROP COLUMN title",
    "renames": "ALTER TABLE notes RENAME title TO heading",
    "changes-type": "ALTER TABLE notes ALTER COLUMN title TYPE varchar(9)",
    "sets-not-null": "ALTER TABLE notes ALTER COLUMN title SET NOT NULL",
    "adds-not-null": "ALTER TABLE notes ADD COLUMN title text NOT NULL",
    "checks-rows": "ALTER TABLE notes ADD CONSTRAINT short CHECK (length(title) < 9)",
    "builds-index": "CREATE UNIQUE INDEX ix_notes_title ON notes (title)",
}


@pytest.mark.parametrize("rule", [rule.name for _, rule in RULES])
def test_each_rule_fires(rule):
    assert [(found.name, text) for found, text in warnings([FIRED[rule]])] == [(rule, FIRED[rule])]


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE notes ADD COLUMN title text",
        "ALTER TABLE notes ADD COLUMN title text DEFAULT 'DROP TABLE notes' NOT NULL",
        "ALTER TABLE notes ADD CONSTRAINT short CHECK (length(title) < 9) NOT VALID",
        "UPDATE alembic_version SET version_num = 'own_0002'",
    ],
)
def test_what_only_adds_hurts_nobody(statement):
    assert list(warnings([statement])) == []


def test_a_table_that_is_made_on_the_way_is_nobodys_yet():
    made = ["CREATE TABLE books (id int)", "CREATE INDEX i ON books (id)", FIRED["builds-index"]]
    assert [text for _, text in warnings(made)] == [FIRED["builds-index"]]
