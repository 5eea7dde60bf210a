"""Before a provider that takes only so many requests: each who asks has his turn."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from controlplane.errors import ProviderBusy, ProviderUnavailable
from controlplane.ports import Turns

_PATIENCE_S = 1


class Turnstile:
    """Lets everybody through at once where there are no turns to take."""

    def __init__(self, provider: str, turns: Turns | None) -> None:
        self._provider = provider
        self._turns = turns

    @asynccontextmanager
    async def turn(self, holder: object, *, requests: int) -> AsyncIterator[None]:
        """One's turn to make so many requests. Raises ProviderBusy, which says when it will be.

        Whom the provider leaves without an answer within it, or asks to come back, goes first then;
        so does who is cut off.
        """
        wait_s = await self._wait_s(holder, requests)
        if wait_s:
            raise ProviderBusy(
                f"{self._provider} is asked as often as it allows; this waits for its turn.",
                wait_s=wait_s,
            )
        try:
            yield
        except (ProviderUnavailable, asyncio.CancelledError):
            await self._put_first(holder, requests)
            raise

    async def comes(self, holder: object) -> None:
        """Waits for the turn to make one request."""
        wait_s = await self._wait_s(holder, 1)
        while wait_s:
            await asyncio.sleep(wait_s)
            wait_s = await self._wait_s(holder, 1)

    async def _wait_s(self, holder: object, requests: int) -> float:
        return await self._turns.take(str(holder), requests=requests) if self._turns else 0.0

    async def _put_first(self, holder: object, requests: int) -> None:
        """Without it he queues once more, and whoever cuts him off does not wait long for it."""
        if self._turns:
            with suppress(ProviderUnavailable, TimeoutError):
                async with asyncio.timeout(_PATIENCE_S):
                    await self._turns.put_first(str(holder), requests=requests)
