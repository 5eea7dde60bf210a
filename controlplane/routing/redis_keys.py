"""What both clients of Redis have in common: names, and what counts as a failure."""

import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from redis.exceptions import RedisError, ResponseError

from controlplane.routing.cache import CacheUnavailable

CONNECTIONS = 16
BATCH = 500
# Seconds of silence after which a subscription is asked whether it is still there.
SILENCE_S = 10.0
# The client's parser raises the plain ones at what no Redis says.
FAILED = (RedisError, OSError, TimeoutError, ValueError, TypeError, LookupError, AttributeError)
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
# What a pattern of Redis's does not read as itself.
_SPECIAL = re.compile(r"([\\*?\[\]^-])")


class NotBytesError(CacheUnavailable):
    """Somebody else's key has our name; to be overwritten."""


def prefix_of(installation: str | UUID) -> str:
    """What all its keys begin with. Raises ValueError for a name that could hold another's keys."""
    if not _NAME.fullmatch(str(installation)):
        raise ValueError("an installation is named by letters, digits, '_', '.' and '-'")
    return f"controlplane:{installation}:"


def pattern(prefix: str) -> str:
    """The pattern of all keys that begin so."""
    return _SPECIAL.sub(r"\\\1", prefix) + "*"


def is_anothers(error: BaseException) -> bool:
    return isinstance(error, ResponseError) and str(error).startswith("WRONGTYPE")


def batches(items: Sequence[Any]) -> list[Sequence[Any]]:
    return [items[start : start + BATCH] for start in range(0, len(items), BATCH)]


def told(message: dict[str, Any]) -> tuple[list[str] | None] | None:
    """Of a subscription's message the subdomains that it names, as a tuple of one; None in it is
    that the subscription stands. None for what says neither."""
    match message["type"]:
        case "subscribe":
            return (None,)
        case "message":
            return (message["data"].decode("ascii", "replace").split(),)
        case _:
            return None
