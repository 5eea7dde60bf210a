"""A conversation with Cloudflare's API, by its SDK; nothing of the token ever leaves this module."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, NamedTuple

import cloudflare
import httpx

from controlplane.errors import ProviderRefused, ProviderUnavailable, SettingsInvalid
from controlplane_dns import cloudflare_answers as answers
from controlplane_dns.cloudflare_answers import Answer
from controlplane_dns.cloudflare_zone import Changes, Found

URL = "https://api.cloudflare.com/client/v4"
# All that most zones may hold comes as one page, and so as of one moment.
_PAGE_SIZE = 5000
_TOKEN = re.compile(r"[!-~]+")
_ZONE_ID = re.compile(r"[0-9a-f]{32}")


@cache
def _trusted() -> ssl.SSLContext:
    """The usual authorities; to read them takes longer than to make a client."""
    return httpx.create_ssl_context(trust_env=False)


class Page(NamedTuple):
    found: list[Found]
    pages: int
    total: int


class Api:
    """`timeout_s` is for each answer. Raises SettingsInvalid for what can be no id, or no token."""

    def __init__(self, *, zone_id: str, token: str, url: str, timeout_s: float) -> None:
        if not _ZONE_ID.fullmatch(zone_id):
            raise SettingsInvalid(f"{zone_id!r} is not the id of a zone: 32 hexadecimal digits.")
        if not _TOKEN.fullmatch(token):
            raise SettingsInvalid("The API token holds characters that none can have.")
        self._zone_id = zone_id
        self._token = token
        self._url = url
        self._timeout_s = timeout_s

    @asynccontextmanager
    async def talk(self) -> AsyncIterator["Talk"]:
        """Connections of its own, so that nothing is left open and any event loop will do."""
        # Settings come from nowhere else, and an answer elsewhere is none.
        client = httpx.AsyncClient(verify=_trusted(), trust_env=False, follow_redirects=False)
        async with client:
            sdk = cloudflare.AsyncCloudflare(
                api_token=self._token,
                base_url=self._url,
                timeout=self._timeout_s,
                # The engine decides when something is tried again.
                max_retries=0,
                http_client=client,
            )
            # Without a value the SDK looks for these in the environment.
            sdk.api_key = sdk.api_email = sdk.user_service_key = None
            yield Talk(sdk, self._zone_id, self._timeout_s)


class Talk:
    """Raises ProviderUnavailable where no answer of Cloudflare's comes or it says so,
    ProviderRefused where it will not do it. After either a change may have taken effect."""

    def __init__(self, sdk: cloudflare.AsyncCloudflare, zone_id: str, timeout_s: float) -> None:
        self._records = sdk.dns.records.with_raw_response
        self._zone_id = zone_id
        self._timeout_s = timeout_s

    async def at(self, host: str) -> list[Found]:
        """All records of the name, of any type."""
        page = await self._page({"name": {"exact": host}}, 1)
        return [one for one in page.found if one.name == host]

    async def commented(self, start: str) -> list[Found]:
        """All records whose comment begins so, capital or small. Raises ProviderUnavailable where
        they changed while they were listed."""
        wanted = {"comment": {"startswith": start}}
        first = await self._page(wanted, 1)
        found = {one.id: one for one in first.found}
        totals = {first.total}
        for number in range(2, first.pages + 1):
            page = await self._page(wanted, number)
            found |= {one.id: one for one in page.found}
            totals.add(page.total)
        if totals != {len(found)}:
            raise ProviderUnavailable("The zone changed while its records were listed.")
        return list(found.values())

    async def apply(self, changes: Changes) -> bool:
        """Whether all was done; False, and nothing was, where the name is not as it was seen."""
        if changes.is_first:
            return await self._create(changes.posts[0])
        asked = self._records.batch(
            zone_id=self._zone_id,
            deletes=[{"id": one} for one in changes.deletes],
            patches=changes.patches,
            posts=changes.posts,
        )
        return not (await self._answer(asked, besides=answers.TAKEN | answers.GONE)).codes

    async def delete(self, record_id: str) -> None:
        """One that is gone already is success."""
        asked = self._records.delete(record_id, zone_id=self._zone_id)
        await self._answer(asked, besides=answers.GONE)

    async def _create(self, body: Mapping[str, Any]) -> bool:
        asked = self._records.create(zone_id=self._zone_id, **body)
        answer = await self._answer(asked, besides=answers.TAKEN)
        if answer.codes:
            return False
        made = answer.found[0]
        if made.name != body["name"]:
            # A name outside of the zone is taken for one inside of it.
            await self.delete(made.id)
            raise ProviderRefused(
                f"The zone made '{made.name}' of '{body['name']}', which was taken back: the zone "
                "of this id is not the one that the base domain lies in."
            )
        return True

    async def _page(self, wanted: Mapping[str, Any], number: int) -> Page:
        asked = self._records.list(
            zone_id=self._zone_id, page=number, per_page=_PAGE_SIZE, order="name", **wanted
        )
        answer = await self._answer(asked)
        return Page(answer.found, answer.number("total_pages"), answer.number("total_count"))

    async def _answer(
        self, asked: Awaitable[Any], *, besides: frozenset[int] = frozenset()
    ) -> Answer:
        response = await self._response(asked)
        # Outside of any `except`: what the SDK raises holds its request, and that the token.
        if response is None:
            raise ProviderUnavailable("No answer from Cloudflare, or not in time.")
        answer = answers.read(
            response.status_code, response.headers.get("retry-after"), response.content
        )
        if fault := answers.fault(answer, besides=besides):
            raise fault
        return answer

    async def _response(self, asked: Awaitable[Any]) -> httpx.Response | None:
        try:
            async with asyncio.timeout(self._timeout_s):
                response: httpx.Response = (await asked).http_response
        except cloudflare.APIStatusError as exc:
            response = exc.response
        except (cloudflare.APIConnectionError, TimeoutError):
            return None
        return response
