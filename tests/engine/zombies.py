"""A worker that is frozen at a named place and tells what it tried after it had been thawed.

Runs in a process of its own, forked by the zygote.
"""

import asyncio
import json
import os
import signal
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import event
from structlog.testing import capture_logs

from controlplane import wiring, worker
from controlplane.domain.operations import Operation
from controlplane.provisioning.crew import Crew
from controlplane.provisioning.engine import Engine
from controlplane.provisioning.leases import Heartbeat
from controlplane.settings import load
from tests.engine.faults import Wrapped

# Instead of the product's 15 seconds.
_ENDS_IDLE_SESSIONS = "SET idle_in_transaction_session_timeout = '2s'"


@dataclass
class Zombie:
    """`place` is a failpoint, or `call:<step>` for the moment before the step's call goes out.

    `waking` is what it does first when it is thawed: `goes-on`, `idles` (its loop turns) or
    `hangs` (its loop does not). `times` are those of its lease that are not the settings'.
    """

    environment: dict[str, str]
    place: str
    waking: str
    times: dict[str, float]
    report: str
    _thawed: bool = False
    _tried: list[list[Any]] = field(default_factory=list)

    async def live(self) -> None:
        """Until the drive of one operation is over."""
        async with wiring.open_parts(load(self.environment)) as parts:
            await parts.owner.dispose()  # what was opened before knows nothing of the shorter time
            event.listen(parts.owner.sync_engine, "connect", _end_when_idle)
            event.listen(parts.owner.sync_engine, "before_cursor_execute", self._note)
            opened = worker.open_engine(parts, failpoint=self._pass)
            times = replace(opened.crew.timing, **self.times)
            steps: dict[str, Any] = {
                name: _Outward(step, name, self) for name, step in opened.crew.steps.items()
            }
            crew = replace(opened.crew, steps=steps, timing=times)
            stopping = asyncio.Event()
            with capture_logs() as lines:
                await _Once(crew, opened.heartbeat.url, stopping).run(stopping)
        told = {"tried": self._tried, "log": [line["event"] for line in lines]}
        self._tell(told)

    def _tell(self, told: dict[str, Any]) -> None:
        Path(self.report).write_text(json.dumps(told))

    async def _pass(self, place: str) -> None:
        if place != self.place or self._thawed:
            return
        os.kill(os.getpid(), signal.SIGSTOP)
        self._thawed = True
        if self.waking == "idles":
            await asyncio.Event().wait()
        if self.waking == "hangs":
            threading.Event().wait()

    async def calls(self, step: str) -> None:
        await self._pass(f"call:{step}")

    def _note(self, *told: Any) -> None:
        _connection, _cursor, statement, parameters, *_ = told
        if self._thawed and isinstance(parameters, dict) and "epoch" in parameters:
            self._tried.append([statement.split()[0], parameters["epoch"]])


class _Once(Engine):
    """Stops when its first drive is over."""

    def __init__(self, crew: Crew, url: str, stopping: asyncio.Event) -> None:
        super().__init__(crew, Heartbeat(url, crew.timing), slots=1)
        self._over = stopping

    async def drive(self, operation: Operation) -> None:
        try:
            await super().drive(operation)
        finally:
            self._over.set()


class _Outward(Wrapped):
    def __init__(self, step: Any, name: str, zombie: Zombie) -> None:
        super().__init__(step)
        self.name, self.zombie = name, zombie

    async def call(self, method: str, *args: Any) -> Any:
        await self.zombie.calls(self.name)
        return await super().call(method, *args)


def _end_when_idle(dbapi_connection: Any, _record: object) -> None:
    cursor = dbapi_connection.cursor()
    cursor.execute(_ENDS_IDLE_SESSIONS)
    cursor.close()
    dbapi_connection.commit()
