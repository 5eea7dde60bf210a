import pytest

from controlplane.tenancy.lint_sources import no_way_back
from controlplane.tenancy.losses import losses


@pytest.mark.parametrize(
    ("statement", "lost"),
    [
        ("DROP TABLE notes", ["the table notes with its rows"]),
        ("drop table if exists __schema__.notes", ["the table __schema__.notes with its rows"]),
        (
            'ALTER TABLE ONLY "no tes" DROP COLUMN title, DROP body CASCADE',
            [f'the column {name} of "no tes" with what it holds' for name in ("title", "body")],
        ),
        ("ALTER TABLE notes DROP CONSTRAINT ck, ALTER a DROP NOT NULL, ALTER b DROP DEFAULT", []),
        (
            'DROP TABLE notes, __schema__."b, c", ONLY books CASCADE',
            [f"the table {name} with its rows" for name in ("notes", '__schema__."b, c"', "books")],
        ),
        ("TRUNCATE ONLY notes *, books", ["every row of notes", "every row of books"]),
        ("DELETE FROM notes WHERE body = 'DROP TABLE x'", ["rows of notes"]),
        ("TRUNCATE notes", ["every row of notes"]),
        ("UPDATE notes SET body = ''", ["what rows of notes held before they are changed"]),
        ("UPDATE __schema__.alembic_version SET version_num='a'", []),
        ("DROP INDEX ix_notes_title", []),
        ("CREATE TABLE notes ()", []),
    ],
)
def test_what_a_statement_takes_away_is_told(statement, lost):
    assert list(losses([statement])) == lost


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("op.drop_table('notes')", None),
        ("raise NotImplementedError('gone')", "gone."),
        ("'''Why.'''; raise NotImplementedError('gone.')", "gone."),
        ("raise NotImplementedError", "It says no reason."),
    ],
)
def test_a_downgrade_that_only_raises_is_none(body, reason):
    assert no_way_back(f"def downgrade():\n    {body}\n") == reason


def test_a_revision_without_a_downgrade_has_none():
    assert no_way_back("def upgrade(): pass") == "It has none."
