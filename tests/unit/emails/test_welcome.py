"""The mails' content: golden files, escaping, links, and what is refused."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict
from urllib.parse import urlsplit

import jinja2
import pytest

import controlplane_emails.render
from controlplane.domain.mail import Message
from controlplane.errors import ValidationFailed
from controlplane_emails.render import render, welcome

GOLDEN = Path(__file__).with_name("golden")
TEMPLATES = Path(controlplane_emails.render.__file__).with_name("templates")


class Welcome(TypedDict):
    message_id: str
    to: str
    tenant_name: str
    admin_name: str | None
    tenant_url: str
    setup_url: str
    valid_hours: int


ACME: Welcome = {
    "message_id": "<3f0b9a52-0f3d-5a8e-9f43-6b0a6f3f8f10@acme.example.com>",
    "to": "ada@acme.test",
    "tenant_name": "Acme & Söhne",
    "admin_name": "Ada Lovelace",
    "tenant_url": "https://acme.example.com",
    "setup_url": "https://acme.example.com/setup?token=q1w2e3r4t5y6u7i8o9p0a1s2d3f4g5h6&from=mail",
    "valid_hours": 72,
}
EXAMPLES: dict[str, Callable[[], Message]] = {"welcome": lambda: welcome(**ACME)}


def welcomed(**changes: object) -> Message:
    changed: Welcome = {**ACME, **changes}  # type: ignore[typeddict-item]  # the tests' own names
    return welcome(**changed)


def test_every_template_has_its_example() -> None:
    assert {folder.name for folder in TEMPLATES.iterdir()} == EXAMPLES.keys()


@pytest.mark.parametrize("template", EXAMPLES)
@pytest.mark.parametrize("part", ["subject.txt", "body.txt", "body.html"])
def test_a_mail_reads_as_its_golden_file(template: str, part: str) -> None:
    mail = EXAMPLES[template]()
    parts = {"subject.txt": f"{mail.subject}\n", "body.txt": mail.text, "body.html": mail.html}
    assert parts[part] == (GOLDEN / template / part).read_text(encoding="utf-8")


@pytest.mark.parametrize("template", EXAMPLES)
def test_a_missing_variable_raises(template: str) -> None:
    with pytest.raises(jinja2.UndefinedError, match="is undefined"):
        render(template, message_id="<1@acme.example.com>", to="ada@acme.test")


@pytest.mark.parametrize("body", ["text", "html"])
def test_the_welcome_mail_says_whose_where_how_and_until_when(body: str) -> None:
    content = getattr(welcomed(tenant_name="Globex"), body)
    for wanted in (
        "Globex",
        "https://acme.example.com",
        "ada@acme.test",
        "Ada Lovelace",
        "72 hours",
    ):
        assert wanted in content
    assert "token=q1w2e3r4t5y6u7i8o9p0a1s2d3f4g5h6" in content
    assert all(f"{step}. " in content or "<ol" in content for step in (1, 2, 3))


@pytest.mark.parametrize("body", ["text", "html"])
def test_every_link_is_on_the_tenants_own_host(body: str) -> None:
    links = re.findall(r"https?://[^\s\"<]+", getattr(welcomed(), body))
    assert len(links) >= 2
    assert {urlsplit(link).netloc for link in links} == {"acme.example.com"}


def test_nothing_is_loaded_from_anywhere() -> None:
    assert not re.search(r"<(img|link|script|iframe)|url\(|@import", welcomed().html)


def test_an_hour_is_one_hour() -> None:
    mail = welcomed(valid_hours=1)
    assert "for 1 hour after" in mail.text
    assert "1 hours" not in mail.text + mail.html


def test_an_admin_without_a_name_is_greeted_all_the_same() -> None:
    mail = welcomed(admin_name=None)
    assert mail.text.startswith("Hello,\n")
    assert ">Hello,<" in mail.html
    assert "None" not in mail.text + mail.html


def test_names_are_escaped_in_html_and_only_there() -> None:
    mail = welcomed(tenant_name="<script>alert(1)</script>", admin_name='"><b>Ada')
    assert "<script" not in mail.html
    assert "<b>" not in mail.html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; is ready</h1>" in mail.html
    assert "<script>alert(1)</script> is ready" in mail.text
    assert mail.subject == "<script>alert(1)</script> is ready: choose your password"


def test_a_name_that_looks_like_a_template_stays_text() -> None:
    mail = welcomed(tenant_name="{{ setup_url }}{% raw %}")
    assert mail.subject == "{{ setup_url }}{% raw %} is ready: choose your password"


@pytest.mark.parametrize("field", ["to", "tenant_name", "admin_name", "tenant_url", "setup_url"])
@pytest.mark.parametrize(
    "character", ["\r\n", "\n", "\r", "\0", "\x0b", "\x85", "\u2028", "\ud800"]
)
def test_a_line_break_or_control_character_is_refused_with_the_fields_name(
    field: str, character: str
) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        welcomed(**{field: f"{ACME[field]}{character}Bcc: eve@evil.test"})  # type: ignore[literal-required]  # parametrised
    assert [fault.pointer for fault in refusal.value.faults] == [f"/{field}"]


@pytest.mark.parametrize(
    ("field", "link"),
    [
        ("setup_url", "https://evil.test/setup?token=1"),
        ("setup_url", "https://acme.example.com.evil.test/setup"),
        ("setup_url", "https://acme.example.com@evil.test/setup"),
        ("setup_url", "https://globex.example.com/setup"),
        ("setup_url", "javascript:alert(1)//acme.example.com"),
        ("setup_url", "//acme.example.com/setup"),
        ("setup_url", "/setup"),
        ("tenant_url", "acme.example.com"),
        ("tenant_url", "ftp://acme.example.com"),
    ],
)
def test_a_link_to_anywhere_else_is_refused(field: str, link: str) -> None:
    with pytest.raises(ValidationFailed, match=f"The mail's {field} must be a link to"):
        welcomed(**{field: link})


def test_a_port_belongs_to_the_host() -> None:
    mail = welcomed(
        tenant_url="http://acme.localhost:8080",
        setup_url="http://acme.localhost:8080/setup?token=1",
    )
    assert "http://acme.localhost:8080/setup?token=1" in mail.text
