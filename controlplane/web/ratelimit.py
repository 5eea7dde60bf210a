"""How often a tenant, and each who speaks there, may ask: pure ASGI, inside the routing layer.

Answers carry what is left, as the draft "RateLimit header fields for HTTP" of the IETF has it
(draft-ietf-httpapi-ratelimit-headers-10).
"""

from collections.abc import Mapping, Sequence
from math import ceil

from prometheus_client import CollectorRegistry, Counter

from controlplane.domain.ratelimit import Quota, Standing, Verdict
from controlplane.errors import TooManyRequests
from controlplane.ports import RateLimits
from controlplane.web.asgi import ASGIApp, Message, Receive, Scope, Send
from controlplane.web.problems import send_problem
from controlplane.web.ratelimit_keys import Limits, Networks, address_of, quotas_of

_WHOSE = {"tenant": "This tenant has", "principal": "You have", "address": "Your address has"}


class RateLimited:
    """Calls `app` for a request that the quotas of its tenant and of who speaks both admit; answers
    429 to any other, which costs neither of them anything.

    Expects `tenant` and `principal` in `scope["state"]`. Whoever sends a bad token, or none, speaks
    for his address.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        counts: RateLimits,
        limits: Limits,
        proxies: Networks,
        registry: CollectorRegistry,
    ) -> None:
        self._app = app
        self._counts = counts
        self._limits = limits
        self._proxies = proxies
        self._refused = Counter(
            "controlplane_rate_limited",
            "Requests that were answered 429, by whose quota was used up.",
            ["scope"],
            registry=registry,
        )
        self._alone = Counter(
            "controlplane_rate_limit_local",
            "Requests that this replica counted by itself, for the shared counts did not answer.",
            registry=registry,
        )
        for whose in _WHOSE:
            self._refused.labels(whose)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        quotas = self._quotas(scope) if scope["type"] == "http" else {}
        if not quotas:
            return await self._app(scope, receive, send)
        verdict = await self._counts.hit([*quotas.values()])
        if not verdict.shared:
            self._alone.inc()
        told = _telling(send, fields(quotas, verdict))
        if verdict.admitted:
            return await self._app(scope, receive, told)
        return await send_problem(self._refusal(quotas, verdict), scope, told)

    def _quotas(self, scope: Scope) -> dict[str, Quota]:
        state = scope["state"]
        address = address_of(scope, self._proxies)
        return quotas_of(self._limits, state["tenant"], state["principal"], address)

    def _refusal(self, quotas: Mapping[str, Quota], verdict: Verdict) -> TooManyRequests:
        found = zip(quotas, verdict.standings, strict=True)
        used_up = [whose for whose, standing in found if standing and standing.refuses]
        for whose in used_up:
            self._refused.labels(whose).inc()
        seconds = max(ceil(verdict.retry_after_s), 1)
        return TooManyRequests(
            f"{_WHOSE[used_up[-1]]} no more requests for now; try again in {seconds} s.",
            retry_after=seconds,
        )


def fields(quotas: Mapping[str, Quota], verdict: Verdict) -> list[tuple[bytes, bytes]]:
    """The header fields: structured lists of strings with parameters."""
    policies = [f'"{whose}";q={quota.limit};w={quota.window_s}' for whose, quota in quotas.items()]
    return [
        (b"ratelimit-policy", ", ".join(policies).encode()),
        (b"ratelimit", ", ".join(_standings(quotas, verdict.standings)).encode()),
    ]


def _standings(quotas: Mapping[str, Quota], standings: Sequence[Standing | None]) -> list[str]:
    return [
        f'"{whose}";r={standing.remaining};t={max(ceil(standing.reset_s), 0)}'
        for whose, standing in zip(quotas, standings, strict=True)
        if standing is not None
    ]


def _telling(send: Send, told: list[tuple[bytes, bytes]]) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *told]}
        await send(message)

    return sent
