"""Asks Amazon SNS over https."""

from collections.abc import Callable

import httpx2

from controlplane.errors import ProviderUnavailable
from controlplane_emails.sns_topic import Fetch

_TIMEOUT_S = 5.0
_LARGEST = 65_536
_OK = 200


def client() -> httpx2.AsyncClient:
    """What SNS is asked with: its certificate is checked, and no redirect is followed."""
    return httpx2.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False)


def fetcher(make_client: Callable[[], httpx2.AsyncClient] = client) -> Fetch:
    """Fetches with a client of its own each time: it happens once in weeks."""

    async def fetch(url: str) -> bytes:
        try:
            async with make_client() as opened, opened.stream("GET", url) as answer:
                return await _read(answer)
        except httpx2.HTTPError as error:
            raise ProviderUnavailable(f"{type(error).__name__}.") from error

    return fetch


async def _read(answer: httpx2.Response) -> bytes:
    if answer.status_code != _OK:
        raise ProviderUnavailable(f"status {answer.status_code}.")
    body = b""
    async for chunk in answer.aiter_bytes():
        body += chunk
        if len(body) > _LARGEST:
            raise ProviderUnavailable("the answer is too large.")
    return body
