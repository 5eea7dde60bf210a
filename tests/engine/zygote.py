"""Worker processes that can be had quickly: imports once, then forks a worker per request.

A line of JSON on standard input is {"environment": {...}, "kill_at": place, "fail": step or null};
the worker of that line runs until it kills itself at the place (really: SIGKILL). Its end is
answered by one line, {"signal": 9, "kind": of its operation} or {"status": 0}.

Or the line is {"zombie": {...}} (see zombies.py). That worker freezes itself, which is answered by
{"stopped": true}; a line with the signal that it gets next follows, and is answered by its end.
"""

import asyncio
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

# What a worker imports only when it needs it, imported here once for all.
import controlplane.store.migrate  # noqa: F401
import controlplane_dns.zonefile  # noqa: F401
import controlplane_emails.file
import controlplane_emails.render  # noqa: F401
from controlplane import wiring, worker
from controlplane.domain.operations import Operation
from controlplane.provisioning.engine import Engine
from controlplane.settings import load
from controlplane.tenancy import template
from controlplane.tenancy.compile import compiled
from tests.engine.faults import Failure
from tests.engine.zombies import Zombie


class Telling(Engine):
    """Tells of which kind the operation is that it drives."""

    tells: int

    async def drive(self, operation: Operation) -> None:
        os.write(self.tells, operation.plan.kind.encode() + b"\n")
        await super().drive(operation)


async def work(environment: dict[str, str], kill_at: str, fail: str | None, tells: int) -> None:
    async def failpoint(place: str) -> None:
        if place == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    async with wiring.open_parts(load(environment)) as parts:
        # Only the loop that is to die: the other's work would be cut off at any place.
        if kill_at.startswith("mail:"):
            await worker.open_mailroom(parts, failpoint=failpoint).run(asyncio.Event())
        opened = worker.open_engine(parts, failpoint=failpoint)
        engine = Telling(opened.crew, opened.heartbeat, slots=opened.slots)
        engine.tells = tells
        if fail is not None:
            steps = Failure(fail, "ensure").wrap(dict(engine.crew.steps))
            engine.crew = replace(engine.crew, steps=steps)
        await engine.run(asyncio.Event())


def answer(told: dict[str, Any]) -> None:
    print(json.dumps(told), flush=True)  # noqa: T201  what is answered


def ended(status: int) -> dict[str, Any]:
    if os.WIFSIGNALED(status):
        return {"signal": os.WTERMSIG(status)}
    return {"status": os.waitstatus_to_exitcode(status)}


def kill(asked: dict[str, Any]) -> None:
    hears, tells = os.pipe()
    child = os.fork()
    if child == 0:
        begin()
        asyncio.run(work(asked["environment"], asked["kill_at"], asked["fail"], tells))
        os._exit(0)
    os.close(tells)
    _, status = os.waitpid(child, 0)
    with os.fdopen(hears) as heard:
        kinds = heard.read().split()
    answer({**ended(status), "kind": kinds[-1] if kinds else None})


def freeze(asked: dict[str, Any]) -> None:
    child = os.fork()
    if child == 0:
        begin()
        asyncio.run(Zombie(**asked).live())
        os._exit(0)
    _, status = os.waitpid(child, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        answer({"stopped": True})
        os.kill(child, int(sys.stdin.readline() or signal.SIGKILL))
        _, status = os.waitpid(child, 0)
    answer(ended(status))


def begin() -> None:
    """What a forked worker does first."""
    os.dup2(2, 1)  # its log must not stand between the answers
    signal.alarm(60)  # a place that is never reached must not hang the run


def main() -> None:
    for line in iter(sys.stdin.readline, ""):
        asked = json.loads(line)
        variables = asked.get("zombie", asked)["environment"]
        # Here, so that no worker needs a second for it.
        compiled(template.load(Path(variables["CONTROLPLANE_TENANT_TEMPLATE"])))
        if "zombie" in asked:
            freeze(asked["zombie"])
        else:
            kill(asked)


if __name__ == "__main__":
    main()
