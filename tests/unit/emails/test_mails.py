"""The mails' content: golden files, links, escaping, and what everybody can read."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from controlplane.domain.letters import LETTERS, Letter, LinkLetter
from controlplane.domain.mail import Message
from controlplane_emails.render import PARTS, TEMPLATES, render
from controlplane_emails.samples import SAMPLES, barest

GOLDEN = Path(__file__).with_name("golden")
HOW_TO = Path(__file__).parents[3] / "docs" / "how-to" / "mail-templates.md"
NAMES = [letter.template for letter in LETTERS]
LEAST_CONTRAST = 4.5  # WCAG 2.2, level AA


def mailed(name: str, **changes: Any) -> Message:
    return mail_of(replace(SAMPLES[name], **changes))


def mail_of(letter: Letter) -> Message:
    return render(letter, message_id="<1@example.com>")


def test_every_mail_has_its_templates_a_sample_and_golden_files() -> None:
    for folder in (TEMPLATES, GOLDEN):
        files = {path.relative_to(folder).as_posix() for path in folder.glob("[!_]*/*")}
        assert files == {f"{name}/{part}" for name in NAMES for part in PARTS}
    assert list(SAMPLES) == NAMES
    assert {name: type(sample) for name, sample in SAMPLES.items()} == {
        letter.template: letter for letter in LETTERS
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_mail_reads_as_its_golden_files(name: str) -> None:
    mail = mailed(name)
    parts = {"subject.txt": f"{mail.subject}\n", "body.txt": mail.text, "body.html": mail.html}
    for part, content in parts.items():
        assert content == (GOLDEN / name / part).read_text(encoding="utf-8")


def test_the_how_to_names_every_mail_with_its_variables() -> None:
    text = HOW_TO.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| ([^|]*) \|$", text, re.MULTILINE)
    everywhere = set(re.findall(r"^\| `(\w+)` \| [^|]* \|$", text, re.MULTILINE))
    told = {name: everywhere | set(re.findall(r"`(\w+)`", cell)) for name, cell in rows}
    assert told == {name: set(sample.variables()) for name, sample in SAMPLES.items()}


@pytest.mark.parametrize("name", NAMES)
def test_both_bodies_say_whose_it_is_to_whom_and_bring_the_link(name: str) -> None:
    mail = mailed(name, tenant_name="Globex")
    variables = SAMPLES[name].variables()
    assert "Globex" in mail.subject
    for body in (mail.text, mail.html):
        assert "Globex" in body
        assert "Hello Ada Lovelace," in body
        assert all(str(variables[key]) in body for key in ("link", "valid_for") if key in variables)


@pytest.mark.parametrize("name", NAMES)
def test_every_link_is_on_the_tenants_own_host(name: str) -> None:
    at_home = "http://acme.localhost:8080"
    for url, host in [("https://acme.example.com", "acme.example.com"), (at_home, at_home[7:])]:
        mail = mailed(name, tenant_url=url)
        hrefs = re.findall(r"href=\"([^\"]*)", mail.html)
        shown = re.findall(r"\w+://[^\s\"<]+", mail.subject + mail.text + mail.html)
        assert {urlsplit(link).netloc for link in [*hrefs, *shown]} <= {host}
        assert bool(shown) == (name != "registration_rejected"), "that one leads nowhere"


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_loaded_from_anywhere_and_nothing_runs(name: str) -> None:
    html = mailed(name).html
    assert not re.search(r"<(img|link|script|iframe|form|svg|object)|url\(|@import|\son\w+=", html)


@pytest.mark.parametrize("name", NAMES)
def test_names_are_escaped_in_html_and_only_there(name: str) -> None:
    evil = "<b>&\"'{{ link }}{% raw %}"
    letter = SAMPLES[name]
    texts = {"reason", "inviter_name"} & letter.variables().keys()
    # No slash: it would leave out the greeting.
    mail = mailed(name, tenant_name=evil, person_name=evil, **dict.fromkeys(texts, evil))
    assert "<b>" not in mail.html
    escaped = "&lt;b&gt;&amp;&#34;&#39;{{ link }}{% raw %}"
    assert f"Hello {escaped}," in mail.html
    assert f"Hello {evil},\n" in mail.text
    assert evil in mail.subject


@pytest.mark.parametrize("name", NAMES)
def test_a_mail_does_without_what_may_be_missing(name: str) -> None:
    mail = mail_of(barest(SAMPLES[name]))
    assert mail.text.startswith("Hello,\n")
    assert ">Hello,<" in mail.html
    assert "None" not in mail.subject + mail.text + mail.html


@pytest.mark.parametrize("name", NAMES)
def test_the_text_alone_is_a_whole_mail_in_short_lines(name: str) -> None:
    mail = mailed(name, tenant_name="Acme of a name that is as long as names of companies can be")
    assert mail.text.endswith(".\n")
    assert "\n\n\n" not in mail.text
    long = [line for line in mail.text.splitlines() if len(line) > 72]
    assert all(" " not in line for line in long), "only links are longer"
    assert not re.search(r"<\w|&\w+;", mail.text)


@pytest.mark.parametrize("name", NAMES)
def test_a_screen_reader_finds_language_title_and_headings(name: str) -> None:
    html = mailed(name).html
    assert html.startswith('<!DOCTYPE html>\n<html lang="en">')
    (title,) = re.findall(r"<title>(.+)</title>", html)
    (heading,) = re.findall(r"<h1[^>]*>(.+)</h1>", html)
    assert heading == title
    assert html.count("<table") == html.count('<table role="presentation"')
    assert html.index("<h1") < html.find("<h2") or "<h2" not in html
    assert "here</a>" not in html, "a link says where it leads"


@pytest.mark.parametrize("name", NAMES)
def test_every_text_stands_out_in_light_and_in_dark(name: str) -> None:
    html = mailed(name).html
    dark = dict(re.findall(r"\.(\w+) \{ color: (#\w{6}) !important; \}", html))
    card = re.search(r"\.card \{ background: (#\w{6})", html)
    assert card is not None
    light = re.findall(r'class="(\w+)[^"]*"[^>]* style="(?:[^"]* )?color: (#\w{6})', html)
    assert {kind for kind, _ in light} - {"button"} <= dark.keys()
    for kind, color in light:
        if kind != "button":
            assert contrast(color, "#ffffff") >= LEAST_CONTRAST
            assert contrast(dark[kind], card[1]) >= LEAST_CONTRAST
    for back, color in re.findall(r"background: (#\w{6})(?: !important)?; color: (#\w{6})", html):
        assert contrast(back, color) >= LEAST_CONTRAST


def contrast(one: str, other: str) -> float:
    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


def luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_the_welcome_mail_says_how_to_sign_in_step_by_step() -> None:
    mail = mailed("welcome")
    assert all(f"{step}. " in mail.text for step in (1, 2, 3))
    assert mail.html.count("<li") == 3
    assert mail.html.count("ada@acme.example") == mail.text.count("ada@acme.example") == 2


def test_a_rejection_without_a_reason_leaves_no_gap() -> None:
    mail = mailed("registration_rejected", reason=None)
    assert "reason" not in mail.text + mail.html
    assert "\n\n\n" not in mail.text


def test_a_link_that_is_good_for_an_hour_says_so() -> None:
    for name, sample in SAMPLES.items():
        if isinstance(sample, LinkLetter):
            mail = mailed(name, valid_for=timedelta(hours=1))
            assert "1 hour" in mail.text
            assert "1 hours" not in mail.text + mail.html
