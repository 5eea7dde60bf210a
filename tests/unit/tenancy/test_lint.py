"""The lint is silent on what ships, and every rule of it fires on its breach."""

import pytest
from structlog.testing import capture_logs

from controlplane.store.tables import metadata as public
from controlplane.tenancy import lint_sources, lint_statements, lint_tables
from controlplane.tenancy.findings import Rule
from controlplane.tenancy.lint import lint, warn
from controlplane.tenancy.lint_tables import PUBLIC_TABLES
from controlplane.tenancy.tables import metadata as core
from controlplane.tenancy.template import load
from tenant_template.tables import metadata as sample
from tests.integration.tenancy.templates import NOTES, application, revision

BREACHES = {
    "type": "op.execute(\"CREATE TYPE mood AS ENUM ('sad', 'ok')\")",
    "function": 'op.execute("CREATE EXTENSION pg_trgm")',
    "trigger": 'op.execute("CREATE TRIGGER t BEFORE UPDATE ON notes EXECUTE FUNCTION f()")',
    "block": 'op.execute("DO $$ BEGIN CREATE TABLE x (); END $$")',
    "identity": 'tenant_table("x", sa.Column("id", sa.Integer(), primary_key=True))',
    "inheritance": 'op.execute("CREATE TABLE x (y int) INHERITS (notes)")',
    "grant-on-all": 'op.execute("GRANT SELECT ON ALL TABLES IN SCHEMA x TO __role__")',
    "inline-constraint": 'op.execute("ALTER TABLE notes ADD COLUMN n int CHECK (n > 0)")',
    "rename-constraint": 'op.execute("ALTER TABLE notes RENAME CONSTRAINT pk_notes TO x")',
    "set-schema": 'op.execute("ALTER TABLE notes SET SCHEMA public")',
    "owner": 'op.execute("ALTER TABLE notes OWNER TO __role__")',
    "concurrently": 'op.execute("CREATE INDEX CONCURRENTLY ix ON notes (body)")',
    "insert-select": 'op.execute("INSERT INTO notes (id) SELECT id FROM notes")',
    "volatile-update": 'op.execute("UPDATE notes SET body = gen_random_uuid()::text")',
    "schema-named": 'op.execute("UPDATE public.tenants SET name = 1")',
    "naive-time": 'op.add_column("notes", sa.Column("at", sa.DateTime()))',
    "temporary": 'op.execute("SELECT * INTO TEMP moved FROM notes")',
    "beyond-tables": 'op.execute("ALTER ROLE __role__ LOGIN")',
    "unprotected": 'op.execute("ALTER TABLE notes NO FORCE ROW LEVEL SECURITY")',
    "tenant-column": 'op.drop_column("notes", "tenant_id")',
    "grants": 'grant("notes", "TRUNCATE")',
    "policy": 'op.execute("CREATE POLICY open ON notes USING (true)")',
    "name-taken": 'tenant_table("operations", key())',
    "unnamed": 'op.execute("ALTER TABLE notes ADD CHECK (id > 0)")',
    "foreign-key": (
        'op.execute("ALTER TABLE notes ADD CONSTRAINT fk FOREIGN KEY (id) REFERENCES tenants (id)")'
    ),
    "schema-argument": 'op.drop_table("notes", schema="public")',
    "live-tables": "from controlplane.tenancy.tables import settings",
    "seed": None,
    "online-ddl": None,
    "downgrade": None,
    "batch-offline": None,
}


def _found(template):
    return {finding.rule.name for finding in lint(template)}


def test_what_ships_breaks_no_rule():
    assert lint(load()) == []


@pytest.mark.parametrize("rule", [rule for rule, breach in BREACHES.items() if breach])
def test_each_rule_fires(rule, tmp_path):
    template = application(tmp_path, upgrade=f"{NOTES}\n{BREACHES[rule]}")
    assert rule in _found(template)


def test_no_revision_takes_a_table_of_today_from_any_module_of_the_core(tmp_path):
    kinds = ("account_tables import users", "login_tables import sessions")
    taken = "\n".join(f"from controlplane.tenancy.{kind}" for kind in kinds)
    found = lint(application(tmp_path, upgrade=f"{NOTES}\n{taken}"))
    assert [finding.rule.name for finding in found] == ["live-tables", "live-tables"]


def test_an_applications_plain_table_breaks_no_rule(tmp_path):
    assert lint(application(tmp_path)) == []


@pytest.mark.parametrize(
    "statement",
    [
        "GRANT SELECT ON notes TO PUBLIC",
        "GRANT SELECT ON notes, users TO __role__",
        "GRANT SELECT ON notes TO __role__, PUBLIC",
        "GRANT SELECT ON notes TO __role__ WITH GRANT OPTION",
        "GRANT SELECT (body) ON notes TO PUBLIC",
        "GRANT UPDATE (body) ON notes TO __role__",
        "grant select on notes to public",
        "GRANT USAGE ON SCHEMA __schema__ TO PUBLIC",
        "GRANT EXECUTE ON FUNCTION f() TO PUBLIC",
        "GRANT __role__ TO other",
        "REVOKE SELECT ON notes FROM __role__",
    ],
)
def test_rights_are_given_in_one_shape_only(tmp_path, statement):
    template = application(tmp_path, upgrade=f'{NOTES}\nop.execute("{statement}")')
    assert "grants" in _found(template)


@pytest.mark.parametrize(
    ("rule", "statement"),
    [
        ("beyond-tables", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC"),
        ("beyond-tables", "REASSIGN OWNED BY CURRENT_USER TO __role__"),
        ("beyond-tables", "COMMENT ON SCHEMA __schema__ IS NULL"),
        ("temporary", "CREATE LOCAL TEMP TABLE IF NOT EXISTS moved AS SELECT * FROM notes"),
        ("temporary", "create or replace temporary view v as select 1"),
        ("temporary", "SELECT id INTO LOCAL TEMPORARY TABLE moved FROM notes"),
        ("owner", "ALTER SEQUENCE s OWNER TO other"),
        ("owner", "alter table notes owner to other"),
    ],
)
def test_owners_and_what_a_later_table_grants_are_the_control_planes(tmp_path, rule, statement):
    template = application(tmp_path, upgrade=f'{NOTES}\nop.execute("{statement}")')
    assert rule in _found(template)


def test_a_table_may_be_called_temp(tmp_path):
    insert = 'op.execute("INSERT INTO temp (id) VALUES (1)")'
    assert "temporary" not in _found(application(tmp_path, upgrade=f"{NOTES}\n{insert}"))


def test_a_column_called_owner_may_be_renamed(tmp_path):
    rename = 'op.alter_column("notes", "owner", new_column_name="holder")'
    column = 'op.add_column("notes", sa.Column("owner", sa.Text()))'
    assert lint(application(tmp_path, upgrade=f"{NOTES}\n{column}\n{rename}")) == []


def test_a_bare_table_lacks_everything(tmp_path):
    bare = 'op.create_table("bare", sa.Column("id", sa.Uuid(), primary_key=True))'
    assert _found(application(tmp_path, upgrade=bare)) == {
        "unprotected",
        "tenant-column",
        "grants",
    }


@pytest.mark.parametrize(
    "seed",
    [
        "INSERT INTO notes (id) SELECT 1;",
        "INSERT INTO notes VALUES (1, 'x');",
        "UPDATE notes SET body = 'x';",
        "DELETE FROM notes;",
    ],
)
def test_a_seed_holds_literal_rows_only(tmp_path, seed):
    assert "seed" in _found(application(tmp_path, seed=seed))


def test_a_data_revision_may_not_change_tables(tmp_path):
    application(tmp_path)
    change = 'op.add_column("notes", sa.Column("title", sa.Text()))'
    revision(tmp_path, "own_0002", down="own_0001", upgrade=change, more="online = True")
    assert "online-ddl" in _found(application(tmp_path))


@pytest.mark.parametrize("batch", ['batch = "SELECT 1"', "def batch(after): pass"])
def test_batches_are_for_a_data_revision(tmp_path, batch):
    application(tmp_path)
    revision(tmp_path, "own_0002", down="own_0001", upgrade="pass", more=batch)
    assert _found(application(tmp_path)) == {"batch-offline"}


def test_a_downgrade_that_does_nothing_is_none(tmp_path):
    assert "downgrade" in _found(application(tmp_path, downgrade="pass"))


def test_a_rule_is_not_misled_by_a_literal(tmp_path):
    seed = "INSERT INTO notes (id, body) VALUES (1, 'CREATE TYPE public.x; DO CONCURRENTLY');"
    assert lint(application(tmp_path, seed=seed)) == []


def test_a_finding_tells_where_what_why_and_what_instead(tmp_path):
    (finding,) = [
        found
        for found in lint(application(tmp_path, upgrade=f"{NOTES}\n{BREACHES['type']}"))
        if found.rule.name == "type"
    ]
    assert str(finding) == (
        "own_0001: type: CREATE TYPE mood AS ENUM ('sad', 'ok')\n"
        "  A type's values cannot be changed inside a transaction with the tables that use it. "
        "Use text with a named CHECK (`choice` and `one_of`)."
    )


def test_a_computed_revision_id_is_judged_under_its_files_name(tmp_path):
    application(tmp_path)
    revision(tmp_path, "own_0002", down="own_0001", upgrade="pass", downgrade="pass")
    path = tmp_path / "versions" / "own_0002.py"
    path.write_text(path.read_text().replace('"own_0002"', '"own_" + "0002"'))
    (finding,) = lint(application(tmp_path))
    assert (finding.rule.name, finding.revision) == ("downgrade", "own_0002.py")


def test_findings_are_warned_of_in_the_log(tmp_path):
    with capture_logs() as lines:
        warn(application(tmp_path))
        warn(application(tmp_path, downgrade="pass"))
    (line,) = lines
    assert line["event"] == "template_finding"
    assert (line["log_level"], line["rule"], line["revision"]) == (
        "warning",
        "downgrade",
        "own_0001",
    )


def test_every_rule_is_tried_here():
    known = {rule.name for _, rule in lint_statements.RULES} | {
        value.name
        for module in (lint_sources, lint_statements, lint_tables)
        for value in vars(module).values()
        if isinstance(value, Rule)
    }
    assert known == set(BREACHES)


def test_no_table_has_a_name_of_schema_public():
    assert public.tables.keys() & {*core.tables, *sample.tables} == set()
    assert {table.name for table in public.tables.values()} <= PUBLIC_TABLES
