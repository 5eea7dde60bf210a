"""Logging: structlog and the standard library's loggers on one stream, without secrets.

`configure` is called once by a process's command; a library that only logs needs nothing.
"""

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

REDACTED = "[redacted]"
# No word boundary: a field called `admin_token` or `smtpPassword` is as secret.
_SECRET_KEY = re.compile(
    r"password|passwd|secret|token|authorization|cookie|api[-_]?key", re.IGNORECASE
)
# As libpq, a URL's query, JSON and Python's repr write it, whole up to its closing quote, or to
# the line's end where there is none.
_ASSIGNED = r"""
(\b\w*(?:password|passwd|token|secret|api[-_]?key)\\?['"]?[ \t]*[:=][ \t]*)
(?: "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' | (?P<quote>\\['"]).*?(?P=quote)
  | \\?['"].* | [^\s&'",;]+ )
"""
_SECRETS = (
    (re.compile(r"\bcp_[0-9A-Za-z]{8,}"), f"cp_{REDACTED}"),
    (re.compile(r"(://[^\s:/@]*):[^\s/@]+@"), rf"\1:{REDACTED}@"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), rf"\1 {REDACTED}"),
    (re.compile(_ASSIGNED, re.IGNORECASE | re.VERBOSE), rf"\1{REDACTED}"),
)
_CHATTY = (
    "boto3",
    "botocore",
    "urllib3",
    "cloudflare",
    "httpx2",
    "httpcore2",
    "httpx",
    "httpcore",
    "alembic",
    "asyncio",
    "uvicorn",
)


def configure(*, level: str = "info", style: str = "json", stream: TextIO | None = None) -> None:
    """Send every log line, and every Python warning, to `stream` (standard error).

    `style` is "json" (one object a line) or "console"; `level` one of logging's names.
    """
    out = stream or sys.stderr
    before: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        # A person at a terminal sees the date elsewhere.
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False)
        if style == "console"
        else structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(_number(level)),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                # Before the redaction: a traceback may hold a URL with its password.
                structlog.processors.format_exc_info,
                redact,
                _renderer(style, is_terminal=out.isatty()),
            ],
        )
    )
    _route_standard_library(handler, _number(level))


def _route_standard_library(handler: logging.Handler, level: int) -> None:
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(capture=True)


def _number(level: str) -> int:
    return logging.getLevelNamesMapping().get(level.upper(), logging.INFO)


def _renderer(style: str, *, is_terminal: bool) -> Any:
    if style == "console":
        # Not rich's tracebacks: they print local variables, and these may be secrets.
        plain = structlog.dev.plain_traceback
        return structlog.dev.ConsoleRenderer(
            colors=is_terminal, pad_event_to=18, exception_formatter=plain
        )
    return structlog.processors.JSONRenderer(sort_keys=False)


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """structlog processor: no token, no password in a URL, no value of a key that names a secret."""
    return {key: _safe(value, key) for key, value in event.items()}


def _safe(value: Any, key: str = "") -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if _SECRET_KEY.search(key):
        return REDACTED
    if isinstance(value, Mapping):
        return {str(k): _safe(v, str(k)) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_safe(item) for item in value]
    return redacted(str(value))


def redacted(text: str) -> str:
    """The text without tokens and passwords."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text
