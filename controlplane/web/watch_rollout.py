"""Following a rollout: the whole of it again whenever something has changed, to its end."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from uuid import UUID

import msgspec
import structlog
from sqlalchemy.exc import OperationalError

from controlplane.domain.rollouts import ENDED
from controlplane.store import rollout_progress, rollouts
from controlplane.web.api.rollout_bodies import RolloutBody, rollout_body
from controlplane.web.hub import Hub
from controlplane.web.request import reading
from controlplane.wiring import Parts

log = structlog.get_logger()

_POLL_S = 1.0
_HEARTBEAT_S = 15.0
# A token may be revoked meanwhile; the client comes back and is asked for it again.
_LONGEST_S = 600.0


async def stream(parts: Parts, hub: Hub, rollout_id: UUID) -> AsyncGenerator[bytes, None]:
    """Server-sent events of type `rollout`, each the rollout as it is then; at most one a second,
    besides those of its state. Ends early as an operation's stream does: the client comes back."""
    yield b"retry: 1000\n\n"
    began = heard = time.monotonic()
    shown: RolloutBody | None = None
    with hub.watching(rollout_id) as news:
        while not hub.closed and time.monotonic() - began < _LONGEST_S:
            news.clear()
            try:
                body = await look(parts, rollout_id)
            except OperationalError as error:
                log.warning("events_interrupted", error=type(error).__name__)
                return
            if body != shown:
                shown, heard = body, time.monotonic()
                yield b"event: rollout\ndata: " + msgspec.json.encode(body) + b"\n\n"
            if body.state in ENDED:
                return
            if time.monotonic() - heard >= _HEARTBEAT_S:
                heard = time.monotonic()
                yield b": still here\n\n"
            with suppress(TimeoutError):
                async with asyncio.timeout(_POLL_S):
                    await news.wait()


async def look(parts: Parts, rollout_id: UUID) -> RolloutBody:
    """The rollout as it is now. Raises RolloutNotFound."""
    async with reading(parts) as conn:
        rollout = await rollouts.get(conn, rollout_id)
        return rollout_body(rollout, await rollout_progress.of(conn, rollout), parts.template)
