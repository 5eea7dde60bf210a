"""Worker processes that can be had quickly: imports once, then forks a worker per request.

A line of JSON on standard input is {"environment": {...}, "kill_at": place}; the worker of that
line runs until it kills itself at the place (really: SIGKILL). Its end is answered by one line,
{"signal": 9} or {"status": 0}.
"""

import asyncio
import json
import os
import signal
import sys

# What a worker imports only when it needs it, imported here once for all.
import controlplane.store.migrate  # noqa: F401
import controlplane_dns.zonefile  # noqa: F401
import controlplane_emails.file
import controlplane_emails.render  # noqa: F401
from controlplane import wiring
from controlplane.settings import load


async def work(environment: dict[str, str], kill_at: str) -> None:
    async def failpoint(place: str) -> None:
        if place == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    async with wiring.open_parts(load(environment)) as parts:
        # Only the loop that is to die: the other's work would be cut off at any place.
        open_loop = wiring.open_mailroom if kill_at.startswith("mail:") else wiring.open_engine
        await open_loop(parts, failpoint=failpoint).run(asyncio.Event())


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            signal.alarm(60)  # a place that is never reached must not hang the run
            asyncio.run(work(asked["environment"], asked["kill_at"]))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        told = {"signal": os.WTERMSIG(status)} if os.WIFSIGNALED(status) else {"status": status}
        print(json.dumps(told), flush=True)  # noqa: T201  its answer


if __name__ == "__main__":
    main()
