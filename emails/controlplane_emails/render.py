"""Mail from templates: a folder with subject.txt, body.txt and body.html, and a function here
whose keyword arguments are its context. Pure but for reading the templates.

An operator's folder goes before ours, file by file (controlplane_emails.own_templates)."""

import unicodedata
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from controlplane.domain.mail import Message
from controlplane.errors import FieldFault, ValidationFailed

PARTS = ("subject.txt", "body.txt", "body.html")
TEMPLATES = Path(__file__).with_name("templates")

# Control characters, line and paragraph separators, halves of surrogate pairs.
_NEVER_IN_A_LINE = frozenset({"Cc", "Zl", "Zp", "Cs"})


def welcome(
    *,
    message_id: str,
    to: str,
    tenant_name: str,
    admin_name: str | None,
    tenant_url: str,
    setup_url: str,
    valid_hours: int,
    templates: Path | None = None,
) -> Message:
    """The first admin's mail. `setup_url` is the one-time link, valid for `valid_hours`.

    Raises ValidationFailed for a line break or control character in any of the texts, and for a
    link that does not lead to the tenant's own host.
    """
    _refuse_control_characters(
        {"to": to, "tenant_name": tenant_name, "admin_name": admin_name or ""}
    )
    _refuse_foreign_links({"tenant_url": tenant_url, "setup_url": setup_url}, tenant_url)
    return render(
        "welcome",
        templates=templates,
        message_id=message_id,
        to=to,
        tenant_name=tenant_name,
        admin_name=admin_name,
        tenant_url=tenant_url,
        tenant_host=urlsplit(tenant_url).netloc,
        setup_url=setup_url,
        valid_hours=valid_hours,
    )


def render(
    template: str, *, message_id: str, to: str, templates: Path | None = None, **context: object
) -> Message:
    """The template with its context and `to`. Raises jinja2.UndefinedError for a missing variable."""
    subject, text, html = (
        _environment(templates).get_template(f"{template}/{part}").render(to=to, **context)
        for part in PARTS
    )
    return Message(message_id, to, subject.strip(), text, html)


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


def _refuse_control_characters(fields: dict[str, str]) -> None:
    for name, text in fields.items():
        if any(unicodedata.category(character) in _NEVER_IN_A_LINE for character in text):
            raise _fault(name, "may not hold line breaks or other control characters")


def _refuse_foreign_links(links: dict[str, str], home: str) -> None:
    _refuse_control_characters(links)
    host = urlsplit(home).netloc
    for name, link in links.items():
        parts = urlsplit(link)
        if parts.scheme not in ("http", "https") or not host or parts.netloc != host:
            raise _fault(name, f"must be a link to {host or 'a host'}")


def _fault(name: str, what: str) -> ValidationFailed:
    detail = f"The mail's {name} {what}."
    return ValidationFailed(detail, [FieldFault(f"/{name}", ValidationFailed.code, detail)])
