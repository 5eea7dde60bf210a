"""The template that the how-to shows is one that works."""

import re
from pathlib import Path

from controlplane.tenancy.compile import compiled
from controlplane.tenancy.lint import lint
from controlplane.tenancy.lint_tables import PUBLIC_TABLES
from controlplane.tenancy.template import load

DOCS = Path(__file__).parents[3] / "docs"
HOW_TO = (DOCS / "how-to" / "tenant-template.md").read_text(encoding="utf-8")
EXPLANATION = (DOCS / "explanation" / "tenant-schema.md").read_text(encoding="utf-8")


def _blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", HOW_TO, re.DOTALL)


def test_the_template_of_the_how_to_compiles_and_breaks_no_rule(tmp_path):
    (tmp_path / "versions").mkdir()
    for number, block in enumerate(_blocks("python")):
        (tmp_path / "versions" / f"shop_{number}.py").write_text(block)
    (tmp_path / "seed.sql").write_text("".join(_blocks("sql")))
    template = load(tmp_path)
    assert lint(template) == []
    assert compiled(template).heads == ("core_0003", "shop_0004")


def test_the_explanation_names_every_table_that_is_made():
    made = {
        match[1]
        for statement in compiled(load()).statements
        if (match := re.match(r"CREATE TABLE (?:__schema__\.)?(\w+)", statement))
    }
    table = EXPLANATION.partition("## What is in it")[2].partition("Two words")[0]
    assert set(re.findall(r"`(\w+)`", table)) == made
    assert made & PUBLIC_TABLES == set()
