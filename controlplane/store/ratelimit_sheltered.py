"""Shared counts that may fail without failing a request, and that a flood of requests cannot reach."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from time import monotonic

import structlog

from controlplane.domain.ratelimit import Quota, Standing, Verdict
from controlplane.errors import ProviderUnavailable
from controlplane.ports import RateLimits
from controlplane.store.ratelimit_local import LocalRateLimits

log = structlog.get_logger()

PATIENCE_S = 2.0
_RETRY_S = 1.0
# Refusals; a flood from many addresses must not fill the memory.
_REMEMBERED = 10_000


class ShelteredRateLimits:
    """Asks `shared`, and counts by itself where that does not answer within `patience_s`.

    While it is lost, one request a second tries again and all others are counted here at once; what
    this process has admitted is counted here all along, so losing it gives nobody a new quota. A
    quota that refused cannot admit before its time, so until then nobody is asked again.
    `close` when done.
    """

    def __init__(
        self,
        shared: RateLimits,
        *,
        patience_s: float = PATIENCE_S,
        retry_s: float = _RETRY_S,
        remembered: int = _REMEMBERED,
    ) -> None:
        self._shared = shared
        self._patience_s = patience_s
        self._retry_s = retry_s
        self._remembered = remembered
        self._own = LocalRateLimits()
        self._refused: dict[Quota, float] = {}
        self._lost = False
        self._try_again_at = 0.0
        self._asking: set[asyncio.Task[Verdict]] = set()

    async def hit(self, quotas: Sequence[Quota]) -> Verdict:
        """Raises nothing of the shared counts' own."""
        known = self._known_refusal(quotas)
        if known is not None:
            return known
        verdict = await self._ask(quotas)
        if verdict is None:
            return replace(self._own.hit_now(quotas), shared=False)
        if verdict.admitted:
            self._own.hit_now(quotas)
        else:
            self._remember(quotas, verdict)
        return verdict

    async def close(self) -> None:
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    @property
    def remembers(self) -> int:
        """How many refusals."""
        return len(self._refused)

    def _known_refusal(self, quotas: Sequence[Quota]) -> Verdict | None:
        now_s = monotonic()
        standings = tuple(
            Standing(0, until - now_s) if (until := self._refused.get(quota, 0.0)) > now_s else None
            for quota in quotas
        )
        if all(standing is None for standing in standings):
            return None
        return Verdict(admitted=False, standings=standings)

    def _remember(self, quotas: Sequence[Quota], verdict: Verdict) -> None:
        now_s = monotonic()
        if len(self._refused) >= self._remembered:
            self._refused = {q: until for q, until in self._refused.items() if until > now_s}
        if len(self._refused) >= self._remembered:
            self._refused.clear()
        for quota, standing in zip(quotas, verdict.standings, strict=True):
            if standing is not None and standing.refuses:
                self._refused[quota] = now_s + standing.reset_s

    async def _ask(self, quotas: Sequence[Quota]) -> Verdict | None:
        """None where it does not answer. Does not wait for the end of a call that takes too long:
        what does not answer does not let go either."""
        if self._lost and monotonic() < self._try_again_at:
            return None
        self._try_again_at = monotonic() + self._retry_s
        task = asyncio.create_task(self._shared.hit(quotas))
        self._asking.add(task)
        task.add_done_callback(self._done)
        try:
            async with asyncio.timeout(self._patience_s):
                verdict = await asyncio.shield(task)
        except (ProviderUnavailable, TimeoutError) as error:
            task.cancel()
            self._lose(error)
            return None
        self._find()
        return verdict

    def _done(self, task: asyncio.Task[Verdict]) -> None:
        self._asking.discard(task)
        if not task.cancelled():
            task.exception()  # was told of, or is nobody's any more

    def _lose(self, error: Exception) -> None:
        if not self._lost:
            log.warning("rate_limits_lost", error=str(error) or type(error).__name__)
        self._lost = True

    def _find(self) -> None:
        if self._lost:
            log.info("rate_limits_found")
        self._lost = False
