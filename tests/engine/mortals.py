"""Asks the zygote for worker processes that kill or freeze themselves at a named place."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.engine import failpoints

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
        told = self._ask({"environment": variables, "kill_at": place, "fail": fail})
        assert told["signal"] == signal.SIGKILL, f"{place} was not reached"
        kind = told["kind"]
        failpoints.log.hit.add(place if kind is None else failpoints.name(kind, place))

    @contextmanager
    def frozen(
        self,
        variables: dict[str, str],
        place: str,
        *,
        report: Path,
        waking: str = "goes-on",
        **times: float,
    ) -> Iterator["Frozen"]:
        """Begins when a worker has reached the place and is frozen there (see zombies.py)."""
        zombie = {"environment": variables, "place": place, "waking": waking, "times": times}
        told = self._ask({"zombie": {**zombie, "report": str(report)}})
        assert told == {"stopped": True}, f"{place} was not reached"
        worker = Frozen(self, report)
        try:
            yield worker
        finally:
            if not worker.is_over:
                self._ask(int(signal.SIGKILL))

    def _ask(self, line: object) -> Any:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(line) + "\n")
        stdin.flush()
        return json.loads(stdout.readline())

    def end_of_thawed(self) -> Any:
        """Let the frozen worker go on, and wait for its end."""
        return self._ask(int(signal.SIGCONT))


@dataclass
class Frozen:
    """A worker between SIGSTOP and SIGCONT."""

    zygote: Zygote
    report: Path
    is_over: bool = False

    def thaw(self) -> tuple[int, dict[str, Any]]:
        """Its exit status, and what it had to tell at its end."""
        self.is_over = True
        ended = self.zygote.end_of_thawed()
        told = json.loads(self.report.read_text()) if self.report.exists() else {}
        return ended["status"], told
