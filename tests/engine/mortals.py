"""Asks the zygote for worker processes that kill themselves at a named place."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parents[2]


class Zygote:
    """A context manager around one zygote process."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.engine.zygote"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def run_until_killed(
        self, variables: dict[str, str], place: str, *, fail: str | None = None
    ) -> None:
        """Returns when a worker has reached the place and died there by SIGKILL.

        `fail` names a step whose `ensure` fails for good in that worker.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"environment": variables, "kill_at": place, "fail": fail}) + "\n")
        stdin.flush()
        answer = json.loads(stdout.readline())
        assert answer == {"signal": signal.SIGKILL}, f"{place} was not reached"
