"""`controlplane email …`"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from controlplane import settings
from controlplane.cli.output import Output, output_option, print_json
from controlplane.domain.letters import LETTERS

if TYPE_CHECKING:
    from controlplane.domain.mail import Message

_SETTING = settings.variable("mail_templates")


@click.group("email")
def command() -> None:
    """Mails to tenants' people."""


@command.command("preview")
@click.argument("template", type=click.Choice([letter.template for letter in LETTERS]))
@click.option(
    "--templates",
    type=click.Path(path_type=Path),
    help="A folder of templates; without it, CONTROLPLANE_MAIL_TEMPLATES is meant.",
)
@click.option("--html", is_flag=True, help="Print the HTML instead of subject and text.")
@output_option
def preview(*, template: str, templates: Path | None, html: bool, output: Output) -> None:
    """Print a mail as its recipient would get it, with example names. Sends nothing."""
    # The help must not wait for Jinja.
    from controlplane_emails import own_templates  # noqa: PLC0415

    folder = _configured() if templates is None else templates
    if folder is not None:
        named = _SETTING if templates is None else "--templates"
        own_templates.check(folder, named=named)
    mail = own_templates.preview(template, templates=folder)
    if output is Output.JSON:
        print_json({"subject": mail.subject, "text": mail.text, "html": mail.html})
    else:
        click.echo(mail.html if html else _text(mail), nl=False)


def _text(mail: "Message") -> str:
    return f"Subject: {mail.subject}\n\n{mail.text}"


def _configured() -> Path | None:
    folder = settings.given().get(_SETTING)
    return Path(folder) if folder else None
