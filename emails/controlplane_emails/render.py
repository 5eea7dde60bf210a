"""Mails from letters: a folder with subject.txt, body.txt and body.html for each, and one frame for
all. Pure but for reading the templates.

An operator's folder goes before ours, file by file (controlplane_emails.own_templates)."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from controlplane.domain.letters import Letter
from controlplane.domain.mail import Message

PARTS = ("subject.txt", "body.txt", "body.html")
TEMPLATES = Path(__file__).with_name("templates")


def render(letter: Letter, *, message_id: str, templates: Path | None = None) -> Message:
    """Raises jinja2.TemplateError, such as UndefinedError for a variable that the letter has not."""
    variables = letter.variables()
    subject, text, html = (
        _environment(templates).get_template(f"{letter.template}/{part}").render(variables)
        for part in PARTS
    )
    # A header is one line, whatever the template of an operator is.
    return Message(message_id, letter.to, " ".join(subject.split()), text, html)


@cache
def _environment(templates: Path | None) -> Environment:
    return Environment(
        loader=FileSystemLoader([templates, TEMPLATES] if templates else TEMPLATES),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
