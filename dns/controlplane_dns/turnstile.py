"""Before a provider that takes only so many requests: each who asks has his turn."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from controlplane.errors import ProviderBusy, ProviderUnavailable
from controlplane.ports import Turns


class Turnstile:
    """Lets everybody through at once where there are no turns to take."""

    def __init__(self, provider: str, turns: Turns | None) -> None:
        self._provider = provider
        self._turns = turns

    @asynccontextmanager
    async def turn(self, holder: object, *, requests: int) -> AsyncIterator[None]:
        """One's turn to make so many requests. Raises ProviderBusy, which says when it will be.

        Whom the provider leaves without an answer within it, or asks to come back, goes first then.
        """
        wait_s = await self._wait_s(holder, requests)
        if wait_s:
            raise ProviderBusy(
                f"{self._provider} is asked as often as it allows; this waits for its turn.",
                wait_s=wait_s,
            )
        try:
            yield
        except ProviderUnavailable:
            if self._turns:
                # Without it he queues once more.
                with suppress(ProviderUnavailable):
                    await self._turns.put_first(str(holder), requests=requests)
            raise

    async def comes(self, holder: object) -> None:
        """Waits for the turn to make one request."""
        wait_s = await self._wait_s(holder, 1)
        while wait_s:
            await asyncio.sleep(wait_s)
            wait_s = await self._wait_s(holder, 1)

    async def _wait_s(self, holder: object, requests: int) -> float:
        return await self._turns.take(str(holder), requests=requests) if self._turns else 0.0
