"""Cancels that a client library takes for something else."""

import asyncio


def cancels() -> int:
    """How often this task has been asked to end."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def heed(asked: int, error: BaseException | None = None) -> None:
    """Raises CancelledError if the task was asked to end since there were `asked` cancels: else
    whoever cancelled it would wait for ever. `error` is what was made of the cancel."""
    if cancels() > asked:
        raise asyncio.CancelledError from error
