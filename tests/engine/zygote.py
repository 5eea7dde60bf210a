"""Worker processes that can be had quickly: imports once, then forks a worker per request.

A line of JSON on standard input is {"environment": {...}, "kill_at": place, "fail": step or null};
the worker of that line runs until it kills itself at the place (really: SIGKILL). Its end is
answered by one line, {"signal": 9} or {"status": 0}.
"""

import asyncio
import json
import os
import signal
import sys
from dataclasses import replace

# What a worker imports only when it needs it, imported here once for all.
import controlplane.store.migrate  # noqa: F401
import controlplane_dns.zonefile  # noqa: F401
import controlplane_emails.file
import controlplane_emails.render  # noqa: F401
from controlplane import wiring
from controlplane.settings import load
from tests.engine.faults import Failure


async def work(environment: dict[str, str], kill_at: str, fail: str | None) -> None:
    async def failpoint(place: str) -> None:
        if place == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    async with wiring.open_parts(load(environment)) as parts:
        # Only the loop that is to die: the other's work would be cut off at any place.
        if kill_at.startswith("mail:"):
            await wiring.open_mailroom(parts, failpoint=failpoint).run(asyncio.Event())
        engine = wiring.open_engine(parts, failpoint=failpoint)
        if fail is not None:
            steps = Failure(fail, "ensure").wrap(dict(engine.crew.steps))
            engine.crew = replace(engine.crew, steps=steps)
        await engine.run(asyncio.Event())


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            os.dup2(2, 1)  # the worker's log must not stand between the answers
            signal.alarm(60)  # a place that is never reached must not hang the run
            asyncio.run(work(asked["environment"], asked["kill_at"], asked["fail"]))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        told = {"signal": os.WTERMSIG(status)} if os.WIFSIGNALED(status) else {"status": status}
        print(json.dumps(told), flush=True)  # noqa: T201  its answer


if __name__ == "__main__":
    main()
