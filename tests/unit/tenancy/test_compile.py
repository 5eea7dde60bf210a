"""Revisions compile to single statements, once, with placeholders that only safe values fill."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from controlplane.domain.naming import SchemaName, schema_name
from controlplane.errors import RevisionNeedsOnline, TemplateInvalid
from controlplane.tenancy.compile import compiled
from controlplane.tenancy.template import load
from tests.integration.tenancy.templates import NOTES, application, revision

TENANT = UUID("12345678-9abc-4def-8012-3456789abcde")


def _statements(template, **options):
    return list(compiled(template, **options).statements)


def test_a_first_install_is_versions_then_core_then_application_then_seeds():
    script = compiled(load())
    origins = list(dict.fromkeys(script.origins))
    assert origins == ["version table", "core_0001", "core_0002", "core_0003", "app_0001", "seed"]
    assert script.heads == ("app_0001", "core_0003")
    assert script.revision == "app_0001,core_0003"


def test_no_statement_controls_the_transaction_or_ends_with_a_semicolon():
    for statement in compiled(load()).statements:
        assert statement.split()[0] in {"CREATE", "ALTER", "GRANT", "INSERT", "UPDATE"}
        assert not statement.endswith(";")


def test_an_upgrade_starts_from_a_set_of_heads_and_brings_no_seeds():
    script = compiled(load(), start=frozenset({"core_0002", "app_0001"}))
    assert set(script.origins) == {"core_0003"}
    assert script.heads == ("app_0001", "core_0003")
    assert "SET version_num='core_0003'" in script.statements[-1].replace(" = ", "=")


def test_nothing_is_left_to_do_from_the_heads():
    assert _statements(load(), start=frozenset({"core_0003", "app_0001"})) == []


def test_the_placeholders_are_filled_everywhere():
    text = compiled(load()).render(schema=schema_name(TENANT), tenant_id=TENANT)
    assert "__" not in text
    assert f"CREATE TABLE tenant_{TENANT.hex}.alembic_version" in text
    assert f"DEFAULT '{TENANT}' NOT NULL" in text
    assert f"GRANT SELECT, INSERT ON audit_events TO tenant_{TENANT.hex};" in text


def test_one_message_is_the_statements_in_order():
    script = compiled(load())
    each = script.render_each(schema=schema_name(TENANT), tenant_id=TENANT)
    whole = script.render(schema=schema_name(TENANT), tenant_id=TENANT)
    assert whole == "".join(f"{statement};\n" for statement in each)


@pytest.mark.parametrize("name", ["public", "tenant_x; DROP TABLE users", 'tenant_"', ""])
def test_only_a_tenants_schema_can_be_rendered(name):
    with pytest.raises(ValueError, match="not a tenant schema"):
        compiled(load()).render(schema=SchemaName(name), tenant_id=TENANT)


def test_percent_signs_and_colons_are_as_they_were_written(tmp_path):
    seed = "INSERT INTO notes (id, body) VALUES (1, '5% :x {\"a\":1} 100%%');"
    execute = "op.execute(\"UPDATE notes SET body = '50%'\")"
    statements = _statements(application(tmp_path, upgrade=f"{NOTES}\n{execute}", seed=seed))
    assert "UPDATE notes SET body = '50%'" in statements
    assert seed.rstrip(";") in statements


def test_several_statements_in_one_call_become_several(tmp_path):
    both = """op.execute("UPDATE notes SET body = ';'; DELETE FROM notes")"""
    statements = _statements(application(tmp_path, upgrade=f"{NOTES}\n{both}"))
    at = statements.index("UPDATE notes SET body = ';'")
    assert statements[at + 1] == "DELETE FROM notes"


def test_the_same_content_is_compiled_once():
    assert compiled(load()) is compiled(load())


def test_other_content_is_another_script(tmp_path):
    first, second = (
        application(tmp_path / name, seed=seed)
        for name, seed in [("a", ""), ("b", "INSERT INTO notes (id) VALUES (1);")]
    )
    assert first.digest != second.digest
    assert len(_statements(second)) == len(_statements(first)) + 1


def test_files_that_change_under_a_running_process_are_not_mixed_with_the_old(tmp_path):
    template = application(tmp_path, seed="-- Not compiled by any other test.")
    application(tmp_path)
    with pytest.raises(TemplateInvalid, match="restart"):
        compiled(template)


def test_threads_that_compile_at_once_get_the_same(tmp_path):
    template = application(tmp_path)
    starts = [frozenset(), frozenset({"core_0001"}), frozenset({"core_0002"})] * 4
    with ThreadPoolExecutor(12) as pool:
        scripts = list(pool.map(lambda start: compiled(template, start=start), starts))
    assert [len(script.statements) for script in scripts[:3]] == [
        len(script.statements) for script in scripts[9:]
    ]
    assert all(script.heads == ("core_0003", "own_0001") for script in scripts)


@pytest.mark.parametrize("statement", ["COMMIT", "begin", "ROLLBACK", "START TRANSACTION"])
def test_a_revision_may_not_end_the_callers_transaction(tmp_path, statement):
    template = application(tmp_path, upgrade=f'{NOTES}\nop.execute("{statement}")')
    with pytest.raises(TemplateInvalid, match="own_0001 controls the transaction"):
        compiled(template)


def test_an_autocommit_block_does_not_commit_either(tmp_path):
    block = """
    with op.get_context().autocommit_block():
        op.execute("UPDATE notes SET body = 'x'")
    """
    try:
        script = compiled(application(tmp_path, upgrade=f"{NOTES.strip()}\n{block}"))
    except TemplateInvalid:
        return
    assert not any(s.upper().startswith(("COMMIT", "BEGIN")) for s in script.statements)


def test_a_revision_that_reads_rows_without_saying_so_is_named(tmp_path):
    read = 'rows = op.get_bind().execute(sa.text("SELECT 1")).all()'
    template = application(tmp_path, upgrade=f"{NOTES}\n{read}")
    with pytest.raises(
        TemplateInvalid, match=r"own_0001 cannot be rendered offline.*online = True"
    ):
        compiled(template)


def test_a_data_revision_is_named_on_an_upgrade_and_stamped_on_a_first_install(tmp_path):
    application(tmp_path)
    read = 'rows = op.get_bind().execute(sa.text("SELECT 1")).all()'
    revision(tmp_path, "own_0002", down="own_0001", upgrade=read, more="online = True")
    template = application(tmp_path)
    with pytest.raises(RevisionNeedsOnline, match=r"own_0002 .*by a rollout"):
        compiled(template, start=frozenset({"core_0003", "own_0001"}))
    assert compiled(template).heads == ("core_0003", "own_0002")
    assert any("own_0002" in statement for statement in compiled(template).statements)


def test_serving_requests_does_not_import_alembic():
    modules = "create, drop, upgrade, verify, admin, inspect, online, template, compile, tables"
    code = (
        f"from controlplane.tenancy import {modules}; import sys;"
        " sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603  our own text
