"""The worker of `dev` and `demo`: a process of its own, started again whenever it ends."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import structlog

from controlplane.errors import StartupError
from controlplane.settings import child_environment

log = structlog.get_logger()

_COMMAND = ("-m", "controlplane", "worker", "--until-stdin-ends")
# Longer than a worker gives its running steps.
_PATIENCE_S = 15
_START_PATIENCE_S = 120
_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0
# One that lived this long did not die of its start.
_SETTLED_S = 10


@contextlib.asynccontextmanager
async def supervised(
    variables: Mapping[str, str], pid_file: Path, *, log_to: IO[str] | None
) -> AsyncIterator[None]:
    """A worker runs, and runs again. At the end it is stopped.

    `pid_file` holds its process id from when it works on.
    """
    await asyncio.to_thread(pid_file.unlink, missing_ok=True)
    stopping = asyncio.Event()
    worker = _Worker(variables, pid_file, log_to)
    watching = asyncio.create_task(worker.keep_running(stopping))
    try:
        yield
    finally:
        stopping.set()
        await watching
        await asyncio.to_thread(pid_file.unlink, missing_ok=True)


@dataclass(frozen=True)
class _Worker:
    variables: Mapping[str, str]
    pid_file: Path
    log_to: IO[str] | None

    async def keep_running(self, stopping: asyncio.Event) -> None:
        loop, pause_s = asyncio.get_running_loop(), _PAUSE_S
        while not stopping.is_set():
            began = loop.time()
            process = await self._start()
            await _first_of(process.wait(), stopping.wait())
            if stopping.is_set():
                await _end(process)
                return
            settled = loop.time() - began > _SETTLED_S
            pause_s = _PAUSE_S if settled else min(2 * pause_s, _LONGEST_PAUSE_S)
            log.warning("worker_ended", code=process.returncode, again_in_s=pause_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), pause_s)

    async def _start(self) -> asyncio.subprocess.Process:
        # Its standard input is what tells it that we are gone, should we be killed.
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *_COMMAND,
            f"--pid-file={self.pid_file}",
            stdin=asyncio.subprocess.PIPE,
            stderr=self.log_to,
            env=child_environment(self.variables),
        )


async def working(pid_file: Path) -> None:
    """Wait until the worker works. Raises StartupError when that takes too long."""
    try:
        async with asyncio.timeout(_START_PATIENCE_S):
            while not await asyncio.to_thread(pid_file.exists):  # noqa: ASYNC110  another process
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise StartupError("The worker does not start; its log says why.") from None


async def _end(process: asyncio.subprocess.Process) -> None:
    """Tell it to stop; kill it where it does not."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _PATIENCE_S)
    except TimeoutError:
        process.kill()
        await process.wait()


async def _first_of(*waits: Coroutine[Any, Any, Any]) -> None:
    tasks = [asyncio.create_task(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
