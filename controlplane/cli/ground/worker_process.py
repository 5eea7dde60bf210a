"""The worker of `dev` and `demo`: a process of its own, started again whenever it ends."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Mapping
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
    variables: Mapping[str, str],
    pid_file: Path,
    stopping: asyncio.Event,
    *,
    log_to: IO[str] | None,
) -> AsyncIterator[None]:
    """A worker runs, and runs again. It is stopped at the end, or when `stopping` is set.

    `pid_file` holds its process id from when it works on.
    """
    await asyncio.to_thread(pid_file.unlink, missing_ok=True)
    worker = _Worker(variables, pid_file, log_to)
    leaving = asyncio.create_task(stopping.wait())
    watching = asyncio.create_task(worker.keep_running(leaving))
    try:
        yield
    finally:
        leaving.cancel()
        await watching
        await asyncio.to_thread(pid_file.unlink, missing_ok=True)


@dataclass(frozen=True)
class _Worker:
    variables: Mapping[str, str]
    pid_file: Path
    log_to: IO[str] | None

    async def keep_running(self, leaving: asyncio.Task[Any]) -> None:
        """Until `leaving` is done, in whatever way."""
        loop, pause_s = asyncio.get_running_loop(), _PAUSE_S
        while not leaving.done():
            began = loop.time()
            process = await self._start()
            ended = asyncio.create_task(process.wait())
            await asyncio.wait([ended, leaving], return_when=asyncio.FIRST_COMPLETED)
            # Ctrl-C reaches both of us at once; that is no reason to start another.
            if leaving.done():
                await _end(process, ended)
                return
            settled = loop.time() - began > _SETTLED_S
            pause_s = _PAUSE_S if settled else min(2 * pause_s, _LONGEST_PAUSE_S)
            log.warning("worker_ended", code=process.returncode, again_in_s=pause_s)
            await asyncio.wait([leaving], timeout=pause_s)

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


async def working(pid_file: Path, stopping: asyncio.Event) -> None:
    """Wait until the worker works or need not any more. Raises StartupError after long enough."""
    stopped = asyncio.create_task(stopping.wait())
    try:
        async with asyncio.timeout(_START_PATIENCE_S):
            while not (stopped.done() or await asyncio.to_thread(pid_file.exists)):
                await asyncio.wait([stopped], timeout=0.05)
    except TimeoutError:
        raise StartupError("The worker does not start; its log says why.") from None
    finally:
        stopped.cancel()


async def _end(process: asyncio.subprocess.Process, ended: asyncio.Task[int]) -> None:
    """Tell it to stop; kill it where it does not."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    await asyncio.wait([ended], timeout=_PATIENCE_S)
    if not ended.done():
        process.kill()
    await ended
