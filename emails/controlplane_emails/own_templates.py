"""An operator's own templates of mails, and what a mail looks like before anybody gets it."""

import traceback
from pathlib import Path

from jinja2 import TemplateError, TemplateNotFound, TemplateSyntaxError

from controlplane.domain.letters import Letter
from controlplane.domain.mail import Message
from controlplane.errors import SettingsInvalid
from controlplane_emails.render import PARTS, TEMPLATES, render
from controlplane_emails.samples import SAMPLES, barest

_MESSAGE_ID = "<3f0b9a52-0f3d-5a8e-9f43-6b0a6f3f8f10@example.com>"
# What a template can do wrong: its language's errors, and those of the expressions in it.
_BROKEN = (
    *(TemplateError, UnicodeError, OSError, RecursionError),
    *(ArithmeticError, AttributeError, LookupError, TypeError, ValueError),
)


def preview(template: str, *, templates: Path | None) -> Message:
    """The template's mail to somebody who does not exist. Raises SettingsInvalid where the operator's
    template does not render."""
    return _tried(SAMPLES[template], templates)


def check(templates: Path, *, named: str = "CONTROLPLANE_MAIL_TEMPLATES") -> None:
    """Raises SettingsInvalid for a folder that is none or holds what is no template of ours, and for
    a template that does not render. `named` is where the folder was given."""
    if not templates.is_dir():
        raise SettingsInvalid(f"{named}: there is no folder {templates}.")
    known = {f"{name}/{part}" for name in SAMPLES for part in PARTS}
    found = {
        path.relative_to(templates).as_posix() for path in templates.rglob("*") if path.is_file()
    }
    strange = sorted(name for name in found - known if not _include(name))
    if strange:
        raise SettingsInvalid(
            f"{named}: {', '.join(strange)} stands in for no template; there are "
            f"{', '.join(sorted(known))}. Files to be included begin with an underscore."
        )
    for name in sorted(found & known):
        _read(templates, name, named)
    for letter in SAMPLES.values():
        for written in (letter, barest(letter)):
            _tried(written, templates)


def _include(name: str) -> bool:
    """What templates include or extend, and what editors and mounts leave behind."""
    return any(part.startswith(("_", ".")) for part in name.split("/"))


def _read(templates: Path, name: str, named: str) -> None:
    try:
        (templates / name).read_text(encoding="utf-8")
    except (UnicodeError, OSError) as error:
        raise SettingsInvalid(f"{named}: {name} cannot be read as UTF-8: {error}.") from error


def _tried(letter: Letter, templates: Path | None) -> Message:
    try:
        return render(letter, message_id=_MESSAGE_ID, templates=templates)
    except _BROKEN as error:
        where, what = _place(error, templates), _fault(error)
        raise SettingsInvalid(
            f"The mail template '{letter.template}' does not render: {where}{what}"
        ) from error


def _fault(error: Exception) -> str:
    if isinstance(error, TemplateNotFound):
        return f"there is no file {error.name}."
    return f"{str(error).rstrip('.')}."


def _place(error: Exception, templates: Path | None) -> str:
    """The file and the line, where they are known: Jinja puts them into the trace."""
    if isinstance(error, TemplateSyntaxError):
        return f"{error.name}, line {error.lineno}: "
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        for folder in (templates, TEMPLATES):
            if folder is not None and Path(frame.filename).is_relative_to(folder):
                return (
                    f"{Path(frame.filename).relative_to(folder).as_posix()}, line {frame.lineno}: "
                )
    return ""
