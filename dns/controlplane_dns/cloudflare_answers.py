"""What an answer of Cloudflare's API means. Pure.

Only what comes in Cloudflare's envelope counts as its word; whatever else answers (a proxy, a page
about an outage) says nothing for good.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from controlplane.errors import ProviderRefused, ProviderUnavailable, StepError
from controlplane_dns.cloudflare_zone import Found

# The name has a record already: A beside CNAME, CNAME beside any of the three, NS, the same again.
TAKEN = frozenset({81053, 81054, 81056, 81057, 81058})
GONE = frozenset({81044})

_FORBIDDEN = frozenset({9109, 10000, 10001, 6003, 6111, 1000})
_THROTTLED = frozenset({971, 10429})
_NO_ZONE = frozenset({7000, 7003, 1001})
_TOO_MANY_RECORDS = frozenset({81045})
_REMEDIES = (
    (
        _FORBIDDEN,
        "the API token must be valid, and have the permission 'Zone - DNS - Edit' for this zone",
    ),
    (_NO_ZONE, "there is no zone of this id; check it"),
    (_TOO_MANY_RECORDS, "the zone's plan has no room for more records"),
)
# For so long Cloudflare blocks who has asked too much.
_LONGEST_WAIT_S = 300.0
_LONGEST_SAID = 300
_NOT_SHOWN = re.compile(r"[^ -~]+")
_SERVER_ERRORS = 500
_TRY_AGAIN = frozenset({408, 409, 425})


@dataclass(frozen=True)
class Answer:
    """`result` and `info` are as they came; `codes` are those of errors and of their causes."""

    status: int
    codes: frozenset[int]
    said: str
    result: object
    info: Mapping[str, Any]
    retry_after_s: float | None

    @property
    def found(self) -> list[Found]:
        """The result as records. Raises ProviderUnavailable for what is none."""
        listed = self.result if isinstance(self.result, list) else [self.result]
        try:
            return [_found(one) for one in listed]
        except (KeyError, TypeError, ValueError, AttributeError):
            raise not_understood(self.status) from None

    def number(self, name: str) -> int:
        """Of the listing: total_pages, total_count. Raises ProviderUnavailable."""
        number = self.info.get(name)
        if not isinstance(number, int):
            raise not_understood(self.status)
        return number


def read(status: int, retry_after: str | None, content: bytes) -> Answer:
    """Raises ProviderUnavailable for what is not in Cloudflare's envelope."""
    try:
        envelope = json.loads(content)
        faults = list(_faults(envelope["errors"]))
        result, info = envelope["result"], envelope.get("result_info") or {}
        is_success = envelope["success"]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise not_understood(status, _seconds(retry_after)) from None
    said = "; ".join(f"{text} ({code})" for code, text in faults)
    return Answer(
        status if status >= 400 or is_success is True else 400,  # noqa: PLR2004  HTTP's own
        frozenset(code for code, _ in faults),
        _NOT_SHOWN.sub(" ", said)[:_LONGEST_SAID],
        result,
        info,
        _seconds(retry_after),
    )


def fault(answer: Answer, *, besides: frozenset[int] = frozenset()) -> StepError | None:
    """What to raise; None for a success, and for an error of only the codes `besides`."""
    if answer.status < 400 or (answer.codes and answer.codes <= besides):  # noqa: PLR2004
        return None
    said = f"Cloudflare answered {answer.status}: {answer.said or 'no reason'}"
    if answer.status == 429 or answer.codes & _THROTTLED:  # noqa: PLR2004  HTTP's own
        return ProviderUnavailable(f"{said}.", retry_after=answer.retry_after_s)
    if answer.status >= _SERVER_ERRORS or answer.status in _TRY_AGAIN:
        return ProviderUnavailable(f"{said}.", retry_after=answer.retry_after_s)
    remedies = [text for codes, text in _REMEDIES if answer.codes & codes]
    return ProviderRefused(f"{': '.join([said, *remedies[:1]])}.")


def not_understood(status: int, retry_after_s: float | None = None) -> ProviderUnavailable:
    return ProviderUnavailable(
        f"An answer {status} came that is not Cloudflare's; something else may stand between.",
        retry_after=retry_after_s,
    )


def _faults(errors: Any) -> Iterator[tuple[int, str]]:
    """Codes and texts, those of the causes too."""
    for error in errors or ():
        yield int(error["code"]), str(error.get("message", ""))
        yield from _faults(error.get("error_chain"))


def _found(one: Any) -> Found:
    return Found(
        id=str(one["id"]),
        name=str(one["name"]).lower(),
        type=str(one["type"]),
        # Records of many parts have them elsewhere; they are never ours.
        content=str(one.get("content") or ""),
        ttl=int(one["ttl"]),
        proxied=one.get("proxied") is True,
        comment=str(one.get("comment") or ""),
    )


def _seconds(text: str | None) -> float | None:
    """A Retry-After in seconds, as Cloudflare sends it; an HTTP date is none."""
    return min(float(text), _LONGEST_WAIT_S) if text and text.isdecimal() else None
