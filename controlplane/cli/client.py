"""The HTTP API as the commands see it."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any
from uuid import UUID, uuid4

import httpx2

from controlplane import settings
from controlplane.cli.exits import CommandFailed, Exit
from controlplane.domain.tenants import RELEASED
from controlplane.errors import TenantNotFound

TENANTS = "/api/admin/tenants"
OPERATIONS = "/api/admin/operations"
ROLLOUTS = "/api/admin/rollouts"

_TIMEOUT = httpx2.Timeout(30, connect=5)
# A request with a key may be sent again: it is accepted once.
_SENDS = 3
_PAGE = 100
_EXITS = {401: Exit.NOT_AUTHORISED, 403: Exit.NOT_AUTHORISED, 404: Exit.NOT_FOUND}

Json = dict[str, Any]


class ApiUnreachable(CommandFailed):
    """The API does not answer."""

    code = "api_unreachable"


class ApiRefused(CommandFailed):
    """The API refused the request."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.problem = problem
        super().__init__(_one_line(status, problem), exit_code=_EXITS.get(status, Exit.FAILED))


def _one_line(status: int, problem: Mapping[str, Any]) -> str:
    told = str(problem.get("detail") or problem.get("title") or "The API gave no reason.")
    pointers = [str(fault["pointer"]) for fault in problem.get("errors", ())]
    where = [pointer for pointer in pointers if pointer not in told]
    return f"{told} [{', '.join([str(problem.get('code', status)), *where])}]"


class Api:
    """Talks to one control plane. Raises ApiRefused for problems, ApiUnreachable for silence."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    async def get(self, path: str, **params: str | int | None) -> Json:
        given = {name: value for name, value in params.items() if value is not None}
        return await self._send("GET", path, params=given)

    async def post(self, path: str, body: Mapping[str, Any] | None = None) -> Json:
        headers = {"Idempotency-Key": f'"{uuid4()}"'}
        return await self._again("POST", path, json=body, headers=headers)

    async def put(self, path: str, body: Mapping[str, Any]) -> Json:
        headers = {"Idempotency-Key": f'"{uuid4()}"'}
        return await self._again("PUT", path, json=body, headers=headers)

    async def patch(self, path: str, body: Mapping[str, Any]) -> Json:
        return await self._again("PATCH", path, json=body)

    async def delete(self, path: str) -> Json:
        return await self._again("DELETE", path)

    async def items(self, path: str, limit: int, **params: str | None) -> list[Json]:
        """The first `limit` items of all pages."""
        found: list[Json] = []
        cursor: str | None = None
        while len(found) < limit:
            wanted = min(_PAGE, limit - len(found))
            page = await self.get(path, limit=wanted, cursor=cursor, **params)
            found += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        return found

    async def tenant(self, reference: str) -> Json:
        """The tenant with this id or subdomain: who holds it, or else the newest that did.

        Raises TenantNotFound.
        """
        with contextlib.suppress(ValueError):
            return await self.get(f"{TENANTS}/{UUID(reference)}")
        found = await self.tenants_at(reference)
        if not found:
            raise TenantNotFound(f"There is no tenant with the subdomain '{reference}'.")
        holding = (tenant for tenant in found if tenant["state"] not in RELEASED)
        return await self.get(f"{TENANTS}/{next(holding, found[0])['id']}")

    async def tenants_at(self, subdomain: str) -> list[Json]:
        """Every tenant, newest first, that has or had the subdomain."""
        return await self.items(TENANTS, 1000, subdomain=subdomain.lower(), include_deleted="true")

    async def events(self, operation_id: str) -> AsyncIterator[str]:
        """A line for each event of an operation. Ends when the stream does, for whatever reason."""
        async with contextlib.aclosing(self.lines(f"{OPERATIONS}/{operation_id}/events")) as lines:
            async for line in lines:
                yield line

    async def lines(self, path: str) -> AsyncGenerator[str, None]:
        """What each event of a stream holds, until the stream ends, for whatever reason."""
        with contextlib.suppress(httpx2.HTTPError):
            async with self._client.stream("GET", path, timeout=None) as stream:
                async for line in stream.aiter_lines():
                    if line.startswith("data:"):
                        yield line.removeprefix("data:").strip()

    async def _again(self, method: str, path: str, **what: Any) -> Json:
        for left in reversed(range(_SENDS)):
            try:
                return await self._send(method, path, **what)
            except ApiUnreachable as error:
                if left == 0 or isinstance(error.__cause__, httpx2.ConnectError):
                    raise
                await asyncio.sleep(0.5)
        raise AssertionError("BUG: the last attempt returns or raises")

    async def _send(self, method: str, path: str, **what: Any) -> Json:
        try:
            answer = await self._client.request(method, path, **what)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise ApiUnreachable(
                f"The API at {self._client.base_url} does not answer ({reason}); "
                "is CONTROLPLANE_URL right?"
            ) from error
        if answer.is_success:
            return _json(answer)
        raise ApiRefused(answer.status_code, _json(answer))


def _json(answer: httpx2.Response) -> Json:
    try:
        content: Json = answer.json()
    except ValueError:
        # Without JSON these are a proxy's, whose API is away.
        away = answer.status_code in {502, 503, 504}
        raise (ApiUnreachable if away else CommandFailed)(
            f"{answer.url} is not the API: it answered {answer.status_code} without JSON."
        ) from None
    return content


@contextlib.asynccontextmanager
async def open_api() -> AsyncIterator[Api]:
    """The API that the settings name. Raises CommandFailed where there is no token."""
    wanted = settings.load_client()
    if wanted.token is None:
        raise CommandFailed(
            "CONTROLPLANE_TOKEN or CONTROLPLANE_TOKEN_FILE must hold a token; "
            "'controlplane token create' makes one.",
            exit_code=Exit.NOT_AUTHORISED,
        )
    async with api_at(wanted.url, wanted.token.get_secret_value()) as api:
        yield api


@contextlib.asynccontextmanager
async def api_at(url: str, token: str, *, through_proxy: bool = True) -> AsyncIterator[Api]:
    """The API at a URL. `through_proxy`: the proxy that the environment names, if any."""
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(
        base_url=url, headers=headers, timeout=_TIMEOUT, trust_env=through_proxy
    ) as client:
        yield Api(client)
