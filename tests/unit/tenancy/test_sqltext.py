"""SQL text is cut where a statement ends and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.tenancy.sqltext import statements, without_literals


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("", []),
        (" ; ;; ", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1; SELECT 2;", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';'; SELECT 2", ["SELECT ';'", "SELECT 2"]),
        ("SELECT 'it''s;'; SELECT 2", ["SELECT 'it''s;'", "SELECT 2"]),
        (r"SELECT E'\';'; SELECT 2", [r"SELECT E'\';'", "SELECT 2"]),
        (r"SELECT '\'; SELECT 2", [r"SELECT '\'", "SELECT 2"]),
        (r"SELECT name'x\'; SELECT 2", [r"SELECT name'x\'", "SELECT 2"]),
        ('SELECT "a;b"; SELECT 2', ['SELECT "a;b"', "SELECT 2"]),
        ("SELECT $$a;b$$; SELECT 2", ["SELECT $$a;b$$", "SELECT 2"]),
        ("SELECT $x$a;$$;b$x$; SELECT 2", ["SELECT $x$a;$$;b$x$", "SELECT 2"]),
        ("SELECT a$1; SELECT b$1", ["SELECT a$1", "SELECT b$1"]),
        ("-- a; b\nSELECT 1; -- end;", ["SELECT 1"]),
        ("/* a; /* b; */ c; */ SELECT 1; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("SELECT 1 --';\n; SELECT '--'", ["SELECT 1", "SELECT '--'"]),
        ("SELECT '/*'; SELECT '*/'", ["SELECT '/*'", "SELECT '*/'"]),
    ],
)
def test_statements_end_at_semicolons_outside_of_everything(sql, expected):
    assert statements(sql) == expected


@pytest.mark.parametrize(
    "sql", ["SELECT 'a", 'SELECT "a', "/* a", "/* /* */", "SELECT E'\\'", "SELECT $x$ $$"]
)
def test_what_is_not_closed_is_an_error(sql):
    with pytest.raises(ValueError, match="not closed"):
        statements(sql)


@given(st.lists(st.text(alphabet="ab;'\"$-/*\\\n", min_size=1), min_size=1, max_size=4))
def test_any_texts_as_literals_are_found_again(texts):
    literals = ["SELECT '" + text.replace("'", "''") + "'" for text in texts]
    assert statements(";\n".join(literals)) == literals


def test_rules_see_no_literal():
    assert without_literals("SELECT 'CREATE TYPE', $$DO$$, E'\\'x' FROM \"t\"") == (
        "SELECT '', '', '' FROM \"t\""
    )
