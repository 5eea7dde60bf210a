"""`controlplane template …`"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controlplane import settings
from controlplane.cli.exits import Exit
from controlplane.cli.output import Output, flowing, output_option, print_json, print_table, tell

if TYPE_CHECKING:
    from controlplane.tenancy.findings import Finding
    from controlplane.tenancy.outline import Part


@click.group("template")
def command() -> None:
    """The template that every tenant's schema is made from."""


@command.command("check")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@output_option
def check(*, folder: Path | None, output: Output) -> int:
    """Check a tenant template: exit code 0 where it breaks no rule, 1 where it does.

    FOLDER holds versions/ and seed.sql; where it is left out, CONTROLPLANE_TENANT_TEMPLATE is
    meant, or else the sample. The core's revisions are checked with it. Needs no database.
    """
    from controlplane.tenancy import template  # noqa: PLC0415  the help must not wait for Alembic
    from controlplane.tenancy.lint import lint  # noqa: PLC0415
    from controlplane.tenancy.outline import outline  # noqa: PLC0415

    loaded = template.load(folder or _configured())
    findings, parts = lint(loaded), outline(loaded)
    if output is Output.JSON:
        print_json(_document(loaded.application, parts, findings))
    else:
        _print(parts, findings)
    return Exit.FAILED if findings else Exit.OK


def _configured() -> Path | None:
    named = settings.given().get(settings.variable("tenant_template"))
    return Path(named) if named else None


def _document(folder: Path, parts: "list[Part]", findings: "list[Finding]") -> dict[str, object]:
    return {
        "folder": str(folder),
        "parts": [asdict(part) for part in parts],
        "findings": [
            {
                "rule": finding.rule.name,
                "revision": finding.revision,
                "statement": finding.shortened,
                "why": finding.rule.why,
                "remedy": finding.rule.remedy,
            }
            for finding in findings
        ],
    }


def _print(parts: "list[Part]", findings: "list[Finding]") -> None:
    rows = [(part.name, "" if part.online else str(part.statements), _path(part)) for part in parts]
    print_table(("PART", "STATEMENTS", "RUNS"), rows)
    for finding in findings:
        flowing(f"\n{finding}")
    for name in [part.name for part in parts if part.online]:
        tell(f"{name} reads rows: a rollout runs it by Alembic, tenant by tenant.")
    tell(f"Findings: {len(findings)}." if findings else "It breaks no rule.")


def _path(part: "Part") -> str:
    return "online" if part.online else "compiled"
