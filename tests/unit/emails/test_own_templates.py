"""Operators' own templates go before ours; what would stop a mail stops the start."""

import json
import re
from pathlib import Path

import pytest

from controlplane.cli.root import run
from controlplane.errors import SettingsInvalid
from controlplane.settings import load
from controlplane.worker import welcome_renderer
from controlplane_emails.own_templates import check, preview
from controlplane_emails.render import PARTS
from controlplane_emails.samples import SAMPLES
from tests.unit.test_settings import WHOLE

SUBJECT = "Willkommen bei {{ tenant_name }}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a subject of its own, and nothing else."""
    (tmp_path / "welcome").mkdir()
    (tmp_path / "welcome" / "subject.txt").write_text(SUBJECT)
    return tmp_path


def test_a_file_of_the_operators_goes_before_ours_and_the_rest_stays(folder: Path) -> None:
    ours, theirs = (preview("welcome", templates=templates) for templates in (None, folder))
    assert theirs.subject == "Willkommen bei Acme & Söhne"
    assert (theirs.text, theirs.html) == (ours.text, ours.html)


def test_each_file_of_each_mail_can_be_the_operators(tmp_path: Path) -> None:
    for name in SAMPLES:
        (tmp_path / name).mkdir()
        for part in PARTS:
            (tmp_path / name / part).write_text(f"\n Ours \n of {name} for {{{{ to }}}} \n")
    check(tmp_path)
    for name in SAMPLES:
        mail = preview(name, templates=tmp_path)
        assert mail.subject == f"Ours of {name} for ada@acme.example", "a header is one line"
        assert mail.text == mail.html == f"\n Ours \n of {name} for ada@acme.example \n"


def test_the_frame_of_all_mails_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "_layout.txt").write_text("Hallo!\n{% block content %}{% endblock %}")
    (tmp_path / "_layout.html").write_text("<p>{% block title %}{% endblock %}</p>")
    check(tmp_path)
    for name in SAMPLES:
        mail = preview(name, templates=tmp_path)
        assert mail.text.startswith("Hallo!\n")
        assert mail.html.startswith("<p>")


def test_html_of_the_operators_is_escaped_as_ours_is(folder: Path) -> None:
    (folder / "welcome" / "body.html").write_text("{% include '_name.html' %}")
    (folder / "_name.html").write_text("<b>{{ tenant_name }}</b>")
    check(folder)
    assert preview("welcome", templates=folder).html == "<b>Acme &amp; Söhne</b>"


FAULTS = {
    "a variable that is not there": (
        "{{ to }}\n{{ tenant }}",
        "does not render: {place}, line 2: 'tenant' is undefined.",
    ),
    "one that only some have": (
        "{% if not person_name %}\n{{ person }}{% endif %}",
        "{place}, line 2: 'person' is undefined.",
    ),
    "a part that is not there": (
        "{{ to }}\n{{ to.domain }}",
        "{place}, line 2: 'str object' has no attribute 'domain'.",
    ),
    "bad syntax": ("\n\n{% if %}", "{place}, line 3: Expected an expression"),
    "what is never closed": ("{% if to %}\nx\n", "{place}, line 2: Unexpected end of template"),
    "an unknown filter": ("\n{{ to|shout }}", "{place}, line 2: No filter named 'shout'."),
    "a file that is not there": (
        "x\n{% include 'x.txt' %}",
        "{place}, line 2: there is no file x.txt.",
    ),
    "a sum of words": ("\n{{ to + 1 }}", "{place}, line 2: can only concatenate str"),
    "nothing by nothing": ("\n{{ 1 / 0 }}", "{place}, line 2: division by zero."),
}


@pytest.mark.parametrize(
    ("fault", "place"),
    [
        *((fault, "welcome/subject.txt") for fault in FAULTS),
        ("bad syntax", "password_reset/body.html"),
        ("a variable that is not there", "invitation/body.txt"),
        ("bad syntax", "_part.html"),
        ("a variable that is not there", "_part.html"),
    ],
)
def test_a_worker_does_not_start_with_what_would_stop_its_mails(
    folder: Path, fault: str, place: str
) -> None:
    content, complaint = FAULTS[fault]
    (folder / place).parent.mkdir(exist_ok=True)
    (folder / place).write_text(content)
    if place.startswith("_"):
        (folder / "welcome" / "body.html").write_text(f"{{% include '{place}' %}}")
    settings = load({**WHOLE, "CONTROLPLANE_MAIL_TEMPLATES": str(folder)})
    with pytest.raises(SettingsInvalid, match=re.escape(complaint.format(place=place))):
        welcome_renderer(settings)


@pytest.mark.parametrize("name", ["welcome/body.htm", "welcom/body.txt", "subject.txt"])
def test_a_file_that_stands_in_for_none_is_named(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("x")
    with pytest.raises(SettingsInvalid, match=f"{name} stands in for no template"):
        check(folder)


def test_a_file_that_is_no_text_is_named(folder: Path) -> None:
    (folder / "welcome" / "body.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsInvalid, match=r"welcome/body\.txt cannot be read as UTF-8"):
        check(folder)


def test_a_frame_that_holds_itself_is_told(folder: Path) -> None:
    (folder / "_layout.txt").write_text("{% include '_layout.txt' %}")
    with pytest.raises(SettingsInvalid, match=r"_layout\.txt, line 1"):
        check(folder)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="there is no folder"):
        check(tmp_path / "away")


def test_the_preview_shows_what_the_recipient_would_get(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTROLPLANE_MAIL_TEMPLATES", str(folder))
    assert run(["email", "preview", "welcome"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("Subject: Willkommen bei Acme & Söhne\n\nHello Ada Lovelace,\n")
    assert run(["email", "preview", "welcome", "--html"]) == 0
    assert capsys.readouterr().out.startswith("<!DOCTYPE html>")
    assert run(["email", "preview", "welcome", "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out).keys() == {"subject", "text", "html"}


def test_a_preview_of_what_does_not_render_ends_with_1(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "welcome" / "subject.txt").write_text("{{ tenant }}")
    assert run(["email", "preview", "welcome", "--templates", str(folder)]) == 1
    assert "[settings_invalid]" in capsys.readouterr().err


@pytest.mark.parametrize("name", SAMPLES)
def test_the_preview_shows_every_mail(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["email", "preview", name]) == 0
    told = capsys.readouterr().out
    assert told.startswith("Subject: ")
    assert "Acme & Söhne" in told


def test_the_preview_of_an_unknown_mail_names_those_that_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["email", "preview", "farewell"]) == 2
    told = capsys.readouterr().err
    assert all(f"'{name}'" in told for name in SAMPLES)


@pytest.mark.parametrize("option", [True, False])
def test_a_folder_of_no_use_is_told_by_where_it_was_named(
    *,
    option: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CONTROLPLANE_MAIL_TEMPLATES", str(tmp_path / "away"))
    given = ["--templates", str(tmp_path / "gone")] if option else []
    assert run(["email", "preview", "welcome", *given]) == 1
    told = capsys.readouterr().err
    assert ("--templates" in told, "CONTROLPLANE_MAIL_TEMPLATES" in told) == (option, not option)
    assert ("gone" if option else "away") in told
