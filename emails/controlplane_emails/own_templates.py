"""An operator's own templates of mails, and what a mail looks like before anybody gets it."""

from functools import partial
from pathlib import Path

from jinja2 import TemplateError

from controlplane.domain.mail import Message
from controlplane.errors import SettingsInvalid
from controlplane_emails import render

# By template: an example of its mail.
EXAMPLES = {
    "welcome": partial(
        render.welcome,
        message_id="<3f0b9a52-0f3d-5a8e-9f43-6b0a6f3f8f10@example.com>",
        to="ada@acme.example",
        tenant_name="Acme & Sons",
        admin_name="Ada Lovelace",
        tenant_url="https://acme.example.com",
        setup_url="https://acme.example.com/setup#token=only-an-example",
        valid_hours=72,
    )
}


def preview(template: str, *, templates: Path | None) -> Message:
    """The template's mail to somebody who does not exist. Raises SettingsInvalid where the operator's
    template does not render."""
    try:
        return EXAMPLES[template](templates=templates)
    except (TemplateError, UnicodeError) as error:
        raise SettingsInvalid(
            f"The mail template '{template}' does not render: {_place(error)}{error}."
        ) from error


def check(templates: Path) -> None:
    """Raises SettingsInvalid for a folder that is none or holds what is no template of ours, and for
    a template that does not render."""
    if not templates.is_dir():
        raise SettingsInvalid(f"CONTROLPLANE_MAIL_TEMPLATES: there is no folder {templates}.")
    known = {f"{name}/{part}" for name in EXAMPLES for part in render.PARTS}
    found = {
        path.relative_to(templates).as_posix() for path in templates.rglob("*") if path.is_file()
    }
    strange = sorted(name for name in found - known if not _include(name))
    if strange:
        raise SettingsInvalid(
            f"CONTROLPLANE_MAIL_TEMPLATES: {', '.join(strange)} stands in for no template; there are "
            f"{', '.join(sorted(known))}. Files to be included begin with an underscore."
        )
    for name in EXAMPLES:
        preview(name, templates=templates)


def _include(name: str) -> bool:
    """What templates include or extend, and what editors and mounts leave behind."""
    return any(part.startswith(("_", ".")) for part in name.split("/"))


def _place(error: Exception) -> str:
    name, line = getattr(error, "name", None), getattr(error, "lineno", None)
    return f"{name}, line {line}: " if name and line else ""
