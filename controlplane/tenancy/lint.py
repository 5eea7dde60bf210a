"""The rules that keep every tenant isolated, upgradable and ready for a distributed server.

Run over what the revisions compile to and over their text; `template check` prints the findings.
"""

from collections.abc import Iterator

import structlog

from controlplane.tenancy import lint_sources, lint_statements, lint_tables
from controlplane.tenancy.compile import Script, compiled
from controlplane.tenancy.findings import Finding
from controlplane.tenancy.template import Template

log = structlog.get_logger()


def lint(template: Template) -> list[Finding]:
    """Every breach of the rules, in the order of the statements; empty where all is well.

    Raises TemplateInvalid where the revisions cannot be compiled at all.
    """
    script = compiled(template)
    return [*_statements(script), *lint_tables.breaches(script), *_sources(template)]


def warn(template: Template) -> None:
    """A line in the log for each finding. Raises TemplateInvalid as `lint` does."""
    for finding in lint(template):
        rule = finding.rule
        log.warning(
            "template_finding",
            rule=rule.name,
            revision=finding.revision,
            statement=finding.shortened,
            remedy=rule.remedy,
        )


def _statements(script: Script) -> Iterator[Finding]:
    for statement, origin in zip(script.statements, script.origins, strict=True):
        for rule in lint_statements.breaches(statement, origin):
            yield Finding(rule, origin, statement)


def _sources(template: Template) -> Iterator[Finding]:
    for folder in template.versions:
        for path in sorted(folder.glob("*.py")):
            yield from lint_sources.breaches(path)
