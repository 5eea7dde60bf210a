"""Workers that kill themselves (really: SIGKILL) at a place of a rollout.

As a program: imports once, then forks a worker for each line of JSON on standard input, and answers
with its process and then with the signal that ended it.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self
from uuid import UUID

from sqlalchemy.ext.asyncio import create_async_engine

from controlplane.fleet.online import OnlineUpgrades
from controlplane.fleet.roller import Roller
from controlplane.fleet.upgrading import Upgrader
from controlplane.fleet.ways import Compiled
from controlplane.store.urls import sqlalchemy_url
from controlplane.tenancy import template

# Nobody but the server comes by these where a target is one message.
_IN_BETWEEN = {"held", "upgraded", "before-commit"}
ROOT = Path(__file__).parents[3]


class Mortals:
    """A context manager around the program."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.integration.fleet.mortals"]
        self._process = subprocess.Popen(  # noqa: S603  ours
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def die(self, *, url: str, installation: UUID, folder: Path, place: str, visit: int) -> None:
        """Returns when a worker has come by the place so often and died there."""
        self.begin(url=url, installation=installation, folder=folder, place=place, visit=visit)
        assert self.signal() == signal.SIGKILL, f"{place} was not reached"

    def begin(
        self, *, url: str, installation: UUID, folder: Path, place: str = "", visit: int = 0
    ) -> int:
        """A worker's process; without a place somebody else has to kill it."""
        stdin = self._process.stdin
        assert stdin is not None
        told = {"url": url, "installation": str(installation), "folder": str(folder)}
        stdin.write(json.dumps({**told, "place": place, "visit": visit}) + "\n")
        stdin.flush()
        return self._told()

    def signal(self) -> int:
        """What has ended the worker that was begun, when it has."""
        return self._told()

    def _told(self) -> int:
        stdout = self._process.stdout
        assert stdout is not None
        return int(json.loads(stdout.readline()))


async def _work(told: dict[str, Any]) -> None:
    visits = 0

    async def failpoint(place: str) -> None:
        nonlocal visits
        visits += place == told["place"]
        if visits == told["visit"]:
            os.kill(os.getpid(), signal.SIGKILL)

    used = template.load(Path(told["folder"]))
    installation = UUID(told["installation"])
    engine = create_async_engine(
        sqlalchemy_url(told["url"]), connect_args={"prepare_threshold": None}
    )
    roller = Roller(
        engine,
        used.digest,
        Upgrader(engine, installation, Compiled(used), failpoint),
        OnlineUpgrades(url=told["url"], installation=installation, template=used),
        lanes=1,
        in_one_message=told["place"] not in _IN_BETWEEN,
    )
    await roller.run(asyncio.Event())


def main() -> None:
    for line in iter(sys.stdin.readline, ""):
        child = os.fork()
        if child == 0:
            sys.stdout = sys.stderr  # a log has no place among the answers
            signal.alarm(60)  # a place that is never reached must not hang the run
            asyncio.run(_work(json.loads(line)))
            os._exit(0)
        print(json.dumps(child), flush=True)  # noqa: T201  what is answered
        _, status = os.waitpid(child, 0)
        print(json.dumps(status & 0x7F), flush=True)  # noqa: T201  what is answered


if __name__ == "__main__":
    main()
