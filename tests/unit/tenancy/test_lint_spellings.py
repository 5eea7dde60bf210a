"""What takes a table's protection away is found however it is written."""

import pytest

from controlplane.tenancy import lint_statements, lint_tables
from controlplane.tenancy.compile import Script, compiled
from controlplane.tenancy.expected import rights_by_table
from tests.integration.tenancy.templates import application

LIFTED = {
    "ALTER TABLE IF EXISTS notes DISABLE ROW LEVEL SECURITY": "unprotected",
    "ALTER TABLE IF EXISTS ONLY notes NO FORCE ROW LEVEL SECURITY": "unprotected",
    "alter table NOTES* no force row level security": "unprotected",
    'ALTER TABLE "notes" DISABLE ROW LEVEL SECURITY': "unprotected",
    "ALTER TABLE notes FORCE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY": "unprotected",
    'ALTER TABLE U&"not\\0065s" DISABLE ROW LEVEL SECURITY': "unprotected",
    "SELECT id INTO pears FROM notes": "unprotected",
    "DROP POLICY IF EXISTS tenant_rows ON notes": "unprotected",
    'DROP POLICY "tenant_rows" ON notes': "unprotected",
    'CREATE POLICY "to all" ON notes USING (true)': "policy",
    "ALTER TABLE notes DROP CONSTRAINT IF EXISTS ck_notes_tenant_id": "tenant-column",
    "ALTER TABLE notes DROP COLUMN IF EXISTS tenant_id": "tenant-column",
    'ALTER TABLE notes DROP "tenant_id"': "tenant-column",
    "ALTER TABLE notes RENAME tenant_id TO owner": "tenant-column",
    "ALTER TABLE notes ALTER COLUMN tenant_id DROP DEFAULT": "tenant-column",
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return compiled(application(tmp_path_factory.mktemp("plain")))


def _with(script, *statements):
    more = (*script.statements, *statements)
    return Script(more, script.heads, ("own_0002",) * len(more), script.digest)


@pytest.mark.parametrize(("statement", "rule"), LIFTED.items())
def test_protection_is_not_lifted_by_another_spelling(plain, statement, rule):
    found = lint_tables.breaches(_with(plain, statement))
    assert [finding.rule.name for finding in found] == [rule]


def test_what_is_put_back_at_once_is_no_breach(plain):
    again = "ALTER TABLE notes NO FORCE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"
    renamed = "ALTER TABLE IF EXISTS notes RENAME TO letters"
    dropped = "DROP TABLE IF EXISTS letters"
    assert list(lint_tables.breaches(_with(plain, again, renamed, dropped))) == []


@pytest.mark.parametrize("statement", ["DISCARD TEMP", "RELEASE upgrade", "DEALLOCATE ALL"])
def test_the_session_is_the_workers(statement):
    rules = [rule.name for rule in lint_statements.breaches(statement, "own_0002")]
    assert rules == ["beyond-tables"]


def test_rights_are_expected_of_tables_whatever_may_not_be_there(plain):
    made = 'CREATE TABLE IF NOT EXISTS "pears" (id int)'
    granted = "GRANT SELECT ON pears TO __role__"
    gone = "DROP TABLE IF EXISTS notes"
    before, after = rights_by_table(plain), rights_by_table(_with(plain, made, granted, gone))
    assert after.keys() ^ before.keys() == {"pears", "notes"}
    assert after["pears"] == {"SELECT"}
