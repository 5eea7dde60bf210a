"""What a handler learns from its request beyond its parameters: the body, the caller, the parts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

import msgspec
from litestar import Request
from litestar.datastructures import State
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.errors import InvalidRequest, UnsupportedMediaType
from controlplane.store.admins import Principal
from controlplane.store.audit import Actor
from controlplane.web.asgi import exchange_of
from controlplane.web.hub import Hub
from controlplane.wiring import Parts

# curl -d says the second without being asked; a JSON body under that name is still a JSON body.
_READ_AS_JSON = frozenset({"", "application/json", "application/x-www-form-urlencoded"})
_AGENT_CHARACTERS = 200


User = TypeVar("User")


class JsonRequest(Request[User, None, State], Generic[User]):
    """A request whose body is JSON, or nothing at all."""

    async def json(self) -> Any:
        """Raises UnsupportedMediaType or InvalidRequest."""
        given = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if given not in _READ_AS_JSON:
            raise UnsupportedMediaType("Send the body as application/json.")
        try:
            return msgspec.json.decode(await self.body())
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise InvalidRequest(f"The body is not JSON that can be read: {error}.") from error

    @property
    def parts(self) -> Parts:
        """What the API is made of."""
        parts: Parts = self.app.state.parts
        return parts


class ApiRequest(JsonRequest[Principal]):
    """A global admin's request."""

    @property
    def actor(self) -> Actor:
        """The caller, for the audit log."""
        agent = self.headers.get("user-agent", "")[:_AGENT_CHARACTERS]
        return Actor(
            id=self.user.id,
            kind="admin",
            request_id=exchange_of(self.scope).request_id,
            ip=self.client.host if self.client else None,
            agent="".join(filter(str.isprintable, agent)) or None,
        )

    @property
    def hub(self) -> Hub:
        """Tells of news of operations."""
        hub: Hub = self.app.state.hub
        return hub


@asynccontextmanager
async def reading(parts: Parts) -> AsyncIterator[AsyncConnection]:
    """A connection that cannot write."""
    async with parts.control.connect() as conn:
        yield await conn.execution_options(postgresql_readonly=True)
