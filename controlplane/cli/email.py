"""`controlplane email …`"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from controlplane import settings
from controlplane.cli.output import Output, output_option, print_json

if TYPE_CHECKING:
    from controlplane.domain.mail import Message


@click.group("email")
def command() -> None:
    """Mails to tenants."""


@command.command("preview")
@click.argument("template", type=click.Choice(["welcome"]))
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

    folder = templates or _configured()
    if folder is not None:
        own_templates.check(folder)
    mail = own_templates.preview(template, templates=folder)
    if output is Output.JSON:
        print_json({"subject": mail.subject, "text": mail.text, "html": mail.html})
    else:
        click.echo(mail.html if html else _text(mail), nl=False)


def _text(mail: "Message") -> str:
    return f"Subject: {mail.subject}\n\n{mail.text}"


def _configured() -> Path | None:
    named = settings.given().get(settings.variable("mail_templates"))
    return Path(named) if named else None
