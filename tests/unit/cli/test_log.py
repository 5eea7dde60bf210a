"""What is logged holds no secret, in whatever form it comes."""

import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest
import structlog

from controlplane import log

TOKEN = "cp_9kQWo2mmJ6TchCJKEfMx9EJxdy7U0r2N4yDwjZ"  # noqa: S105  made up


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Logging as JSON into it; as it was before, afterwards."""
    root, made = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    log.configure(level="info", style="json", stream=made)
    yield made
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        (f"token {TOKEN} sent", "token cp_[redacted] sent"),
        ("postgresql://owner:p%40ss@db/app", "postgresql://owner:[redacted]@db/app"),
        ("host=db password=owl user=x", "host=db password=[redacted] user=x"),
        ("password='x y' user=z", "password=[redacted] user=z"),
        (r"password='x\' y' user=z", "password=[redacted] user=z"),
        ("password = 'cut off", "password = [redacted]"),
        ("{'password': 'hunter2', 'n': 1}", "{'password': [redacted], 'n': 1}"),
        ('{"token": "abc defg", "n": 1}', '{"token": [redacted], "n": 1}'),
        (r'"{\"token\": \"ab cd\", \"n\": 1}"', r'"{\"token\": [redacted], \"n\": 1}"'),
        ("smtpPassword: hunter2", "smtpPassword: [redacted]"),
        ("x-api-key: hunter2", "x-api-key: [redacted]"),
        ("?token=abc&page=2", "?token=[redacted]&page=2"),
        ("tokens: 3, token_count=4", "tokens: 3, token_count=4"),
        ("password authentication failed", "password authentication failed"),
        ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer [redacted]"),
        ("https://acme.test/setup#token=abcdef", "https://acme.test/setup#token=[redacted]"),
        ("http://127.0.0.1:8080/path is no secret", "http://127.0.0.1:8080/path is no secret"),
        ("2026-11-21 19:25:44 a@b.test", "2026-11-21 19:25:44 a@b.test"),
    ],
)
def test_secrets_in_a_text_are_taken_out(text: str, safe: str) -> None:
    assert log.redacted(text) == safe


def test_a_value_is_taken_out_by_the_name_of_its_key(stream: io.StringIO) -> None:
    structlog.get_logger().info(
        "made",
        admin_token="x",  # noqa: S106
        smtpPassword="x",
        headers={"Authorization": "x", "accept": "y"},
        tokens=3,
        urls=["postgresql://a:b@c/d"],
    )
    line = json.loads(stream.getvalue())
    assert (line["admin_token"], line["smtpPassword"]) == ("[redacted]", "[redacted]")
    assert line["headers"] == {"Authorization": "[redacted]", "accept": "y"}
    assert line["tokens"] == 3
    assert line["urls"] == ["postgresql://a:[redacted]@c/d"]
    assert (line["event"], line["level"]) == ("made", "info")


def test_a_traceback_is_logged_without_the_password_in_it(stream: io.StringIO) -> None:
    try:
        int("postgresql://owner:s3cret-owl@db/app")
    except ValueError:
        structlog.get_logger().exception("broke")
    assert "s3cret-owl" not in stream.getvalue()
    assert "ValueError" in json.loads(stream.getvalue())["exception"]


def test_the_standard_librarys_loggers_and_warnings_take_the_same_way(stream: io.StringIO) -> None:
    logging.getLogger("somewhere").warning("old %s", f"style {TOKEN}")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("beware", stacklevel=1)
    old, beware = (json.loads(line) for line in stream.getvalue().splitlines())
    assert old["event"] == "old style cp_[redacted]"
    assert "beware" in beware["event"]


def test_what_is_below_the_level_is_left_out(stream: io.StringIO) -> None:
    structlog.get_logger().debug("fine")
    logging.getLogger("somewhere").debug("fine")
    logging.getLogger("httpx2").info("request")
    assert stream.getvalue() == ""


def test_the_console_style_is_for_people(stream: io.StringIO) -> None:
    log.configure(style="console", stream=stream)
    structlog.get_logger().warning("worker_ended", code=-9)
    assert "worker_ended" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
