"""Statements as Alembic and people write them: what is warned of does not depend on it."""

import pytest

from controlplane.tenancy.expand import HOLDS_SEVERAL, VALIDATES_AT_ONCE, warnings


def _names(*statements):
    return sorted(rule.name for rule, _ in warnings(statements))


@pytest.mark.parametrize(
    ("statement", "rules"),
    [
        # `type` is a column's name more often than not.
        ("ALTER TABLE notes ALTER COLUMN type SET NOT NULL", "sets-not-null"),
        ("ALTER TABLE notes ALTER COLUMN type SET DEFAULT 'memo'", ""),
        ("ALTER TABLE notes ALTER COLUMN type TYPE varchar(9)", "changes-type"),
        ('ALTER TABLE notes ALTER COLUMN "my title" TYPE text', "changes-type"),
        ('ALTER TABLE "my notes" ALTER "my title" SET NOT NULL', "sets-not-null"),
        ('ALTER TABLE notes ADD CONSTRAINT "my key" UNIQUE (id)', "checks-rows restricts-rows"),
        ('ALTER TABLE notes ADD COLUMN "default" text NOT NULL', "adds-column adds-not-null"),
        ("ALTER TABLE notes ADD COLUMN stored boolean", "adds-column"),
        ("ALTER TABLE notes ALTER id ADD GENERATED ALWAYS AS IDENTITY", ""),
        ("ALTER TABLE notes ADD CONSTRAINT filled NOT NULL title", "sets-not-null"),
        ("ALTER TABLE notes ADD CONSTRAINT k UNIQUE USING INDEX i", "restricts-rows"),
        (
            "ALTER TABLE notes ADD n int GENERATED ALWAYS AS (1) STORED NOT NULL",
            "adds-column rewrites-table",
        ),
        # One action at a time.
        ("ALTER TABLE notes ADD a int DEFAULT 0, ADD b int NOT NULL", "adds-column adds-not-null"),
        ("ALTER TABLE notes ADD a int, ALTER b SET NOT NULL", "adds-column sets-not-null"),
        ("ALTER TABLE notes ADD a int, ALTER b SET DEFAULT gen_random_uuid()", "adds-column"),
        (
            "ALTER TABLE notes ADD CONSTRAINT a CHECK (f(1, 2)),\n ADD CONSTRAINT b CHECK (true) NOT VALID",
            "checks-rows restricts-rows",
        ),
        ("alter table if exists only notes\n  drop if exists title", "drops-column"),
        ("WITH old AS (SELECT 1) UPDATE notes SET title = ''", "changes-rows"),
        ("WITH gone AS (DELETE FROM notes RETURNING id) SELECT 1", "changes-rows"),
        ("INSERT INTO notes (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET title = ''", ""),
    ],
)
def test_a_statement_is_warned_of_however_it_is_written(statement, rules):
    assert _names(statement) == rules.split()


@pytest.mark.parametrize("made", ["CREATE TABLE books(id int)", 'CREATE TABLE "books" (id int)'])
def test_a_new_table_is_nobodys_however_it_is_written(made):
    assert _names(made, "CREATE INDEX i ON books(id)", 'ALTER TABLE ONLY "books" ADD n int') == []


def test_one_table_is_not_taken_for_two():
    add, index = 'ALTER TABLE "notes" ADD n int', "CREATE INDEX i ON Notes(n)"
    assert HOLDS_SEVERAL.name not in _names(add, index, "ALTER TABLE IF EXISTS notes DROP m")


@pytest.mark.parametrize(
    "second",
    [
        "DROP TABLE books",
        "CREATE POLICY open ON books USING (true)",
        "ALTER TABLE notes ADD CONSTRAINT f FOREIGN KEY (book) REFERENCES books (id)",
        "CREATE TABLE pages (book uuid, CONSTRAINT f FOREIGN KEY(book) REFERENCES books (id))",
    ],
)
def test_a_second_table_is_waited_for_in_many_ways(second):
    add = "ALTER TABLE notes ADD COLUMN book uuid"
    told = [text for rule, text in warnings([add, second]) if rule is HOLDS_SEVERAL]
    assert told == [second]


def test_who_changes_rows_lets_others_read_the_table():
    assert _names("UPDATE a SET n = 1", "UPDATE b SET n = 1") == ["changes-rows"] * 2


def test_each_constraint_of_a_statement_is_known_by_its_name():
    add = "ALTER TABLE notes ADD CONSTRAINT a CHECK (true) NOT VALID, ADD CONSTRAINT b CHECK (true) NOT VALID"
    assert VALIDATES_AT_ONCE.name in _names(add, "ALTER TABLE notes VALIDATE CONSTRAINT b")
