"""Following an operation to its end. Events say when to look; the operation itself is the truth."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from controlplane.cli.client import OPERATIONS, Api, ApiUnreachable
from controlplane.cli.exits import CommandFailed, Exit
from controlplane.cli.output import tell
from controlplane.cli.steps import Show, step_list
from controlplane.domain.operations import FINISHED, OperationState

Json = dict[str, Any]

_POLL_S = 1.0
# How long an API may be away, for example while it is rolled out anew.
_PATIENCE_S = 60.0


async def follow(api: Api, operation: Json, *, title: str, timeout_s: float | None) -> Json:
    """Like `to_the_end`, for somebody who may stop waiting.

    Whoever stops, by Ctrl-C or by `timeout_s`, is told how to watch on; the operation goes
    on. Raises CommandFailed when the time is over.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await to_the_end(api, operation, title=title)
    except TimeoutError:
        raise CommandFailed(
            f"It has not ended after {timeout_s:g} s and goes on. {_how(operation)}",
            exit_code=Exit.UNFINISHED,
        ) from None
    except asyncio.CancelledError:
        tell(f"\nNot waiting any more; the operation goes on. {_how(operation)}")
        raise


def _how(operation: Json) -> str:
    return f"Watch it by: controlplane operation watch {operation['id']}"


async def to_the_end(api: Api, operation: Json, *, title: str) -> Json:
    """Show the steps until the operation has ended or is parked; the operation then."""
    with step_list(title) as show:
        show(operation)
        return await _shown(api, operation, show)


async def _shown(api: Api, operation: Json, show: Show) -> Json:
    async with _news(api, operation["id"]) as news:
        while not at_rest(operation):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), _POLL_S)
            news.clear()
            operation = await _read(api, operation["id"])
            show(operation)
    return operation


def at_rest(operation: Json) -> bool:
    """Whether nothing will happen by itself any more."""
    return operation["state"] in {*FINISHED, OperationState.PARKED}


@contextlib.asynccontextmanager
async def _news(api: Api, operation_id: str) -> AsyncIterator[asyncio.Event]:
    """An event that is set whenever something has happened; without a stream, polling remains."""
    news = asyncio.Event()

    async def listen() -> None:
        async for _ in api.events(operation_id):
            news.set()

    listening = asyncio.create_task(listen())
    try:
        yield news
    finally:
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening


async def _read(api: Api, operation_id: str) -> Json:
    until = asyncio.get_running_loop().time() + _PATIENCE_S
    while True:
        try:
            return await api.get(f"{OPERATIONS}/{operation_id}")
        except ApiUnreachable:
            if asyncio.get_running_loop().time() > until:
                raise
            await asyncio.sleep(_POLL_S)


def require_success(operation: Json) -> None:
    """Raises CommandFailed for an operation that ended otherwise, or waits for an operator."""
    error = operation["error"] or {}
    why = f" {error.get('detail', '')} [{error.get('code', 'unknown')}]" if error else ""
    match operation["state"]:
        case OperationState.SUCCEEDED:
            return
        case OperationState.PARKED:
            raise CommandFailed(
                f"The operation is parked: it cannot go on by itself.{why} When the cause is gone: "
                f"controlplane operation resume {operation['id']}"
            )
        case state:
            raise CommandFailed(f"The operation {_ENDS.get(state, state)}.{why}")


_ENDS = {
    "failed": "failed and was undone; nothing of it is left",
    "cancelled": "was cancelled and undone; nothing of it is left",
    "abandoned": "was abandoned",
}
