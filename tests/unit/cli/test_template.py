"""`controlplane template check` tells what a template comes to and what is wrong with it."""

import json

import pytest

from controlplane.cli.root import run
from tests.integration.tenancy.templates import NOTES, application, revision

OPEN = 'op.execute("GRANT SELECT ON notes TO PUBLIC")'


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    monkeypatch.delenv("CONTROLPLANE_TENANT_TEMPLATE", raising=False)


def test_a_clean_template_ends_with_0_and_lists_its_parts(tmp_path, capsys):
    application(tmp_path)
    revision(tmp_path, "own_0002", down="own_0001", upgrade="pass", more="online = True")
    assert run(["template", "check", str(tmp_path)]) == 0
    told = capsys.readouterr()
    rows = [line.split() for line in told.out.splitlines()]
    assert rows[0] == ["PART", "STATEMENTS", "RUNS"]
    assert [row[0] for row in rows[-3:]] == ["own_0001", "own_0002", "seed"]
    assert [row[-1] for row in rows[-3:]] == ["compiled", "online", "compiled"]
    assert "own_0002 reads rows: a rollout runs it by Alembic" in told.err
    assert "It breaks no rule." in told.err


def test_a_finding_ends_with_1_and_tells_rule_revision_statement_why_and_remedy(tmp_path, capsys):
    application(tmp_path, upgrade=f"{NOTES}\n{OPEN}")
    assert run(["template", "check", str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert told.out.endswith(
        "\n\nown_0001: grants: GRANT SELECT ON notes TO PUBLIC\n"
        "  The tenant's role has exactly the rights that are named, and nobody else has any. "
        "Grant whole tables, one by one, to the tenant's role (`tenant_table`, `grant`).\n"
    )
    assert "Findings: 1." in told.err


def test_programs_get_one_document(tmp_path, capsys):
    application(tmp_path, upgrade=f"{NOTES}\n{OPEN}")
    assert run(["template", "check", str(tmp_path), "--output", "json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["folder"] == str(tmp_path)
    (part,) = [part for part in document["parts"] if part["name"] == "own_0001"]
    assert part["statements"] > 5
    assert not part["online"]
    (finding,) = document["findings"]
    assert finding.keys() == {"rule", "revision", "statement", "why", "remedy"}
    assert finding["statement"] == "GRANT SELECT ON notes TO PUBLIC"


def test_the_folder_of_the_settings_is_meant_where_none_is_named(tmp_path, capsys, monkeypatch):
    application(tmp_path, upgrade=f"{NOTES}\n{OPEN}")
    assert run(["template", "check", "--output", "json"]) == 0
    assert "app_0001" in capsys.readouterr().out
    monkeypatch.setenv("CONTROLPLANE_TENANT_TEMPLATE", str(tmp_path))
    assert run(["template", "check", "--output", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["folder"] == str(tmp_path)


@pytest.mark.parametrize("upgrade", ["nonsense()", 'op.execute("COMMIT")'])
def test_what_cannot_be_compiled_ends_with_1_and_one_line(tmp_path, capsys, upgrade):
    application(tmp_path, upgrade=upgrade)
    assert run(["template", "check", str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "own_0001" in told.err
    assert "[template_invalid]" in told.err
