"""Operators' own templates go before ours; what would stop a mail stops the start."""

import json
from pathlib import Path

import pytest

from controlplane.cli.root import run
from controlplane.errors import SettingsInvalid
from controlplane.settings import load
from controlplane.wiring import welcome_renderer
from controlplane_emails.own_templates import EXAMPLES, check, preview
from controlplane_emails.render import TEMPLATES
from tests.unit.test_settings import WHOLE

SUBJECT = "Willkommen bei {{ tenant_name }}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a subject of its own, and nothing else."""
    (tmp_path / "welcome").mkdir()
    (tmp_path / "welcome" / "subject.txt").write_text(SUBJECT)
    return tmp_path


def test_every_template_has_its_example() -> None:
    assert {path.name for path in TEMPLATES.iterdir()} == EXAMPLES.keys()


def test_a_file_of_the_operators_goes_before_ours_and_the_rest_stays(folder: Path) -> None:
    ours, theirs = (preview("welcome", templates=templates) for templates in (None, folder))
    assert theirs.subject == "Willkommen bei Acme & Sons"
    assert (theirs.text, theirs.html) == (ours.text, ours.html)


def test_html_of_the_operators_is_escaped_as_ours_is(folder: Path) -> None:
    (folder / "welcome" / "body.html").write_text("{% include '_name.html' %}")
    (folder / "_name.html").write_text("<b>{{ tenant_name }}</b>")
    check(folder)
    assert preview("welcome", templates=folder).html == "<b>Acme &amp; Sons</b>"


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("welcome/body.txt", "{{ tenant }}", "'tenant' is undefined"),
        ("welcome/body.txt", "{% if %}", "line 1"),
        ("welcome/body.txt", "{% include 'x.txt' %}", "x.txt"),
        ("welcome/body.htm", "x", "welcome/body.htm stands in for no template"),
        ("welcom/body.txt", "x", "welcom/body.txt stands in for no template"),
    ],
)
def test_a_worker_does_not_start_with_what_would_stop_its_mails(
    folder: Path, name: str, content: str, complaint: str
) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(content)
    settings = load({**WHOLE, "CONTROLPLANE_MAIL_TEMPLATES": str(folder)})
    with pytest.raises(SettingsInvalid, match=complaint):
        welcome_renderer(settings)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="there is no folder"):
        check(tmp_path / "away")


def test_the_preview_shows_what_the_recipient_would_get(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTROLPLANE_MAIL_TEMPLATES", str(folder))
    assert run(["email", "preview", "welcome"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("Subject: Willkommen bei Acme & Sons\n\nHello Ada Lovelace,\n")
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
