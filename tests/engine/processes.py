"""Worker processes as an operator starts them, with a clock of their own where that is asked for."""

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
QUICK = {
    "CONTROLPLANE_WORKER_LEASE_S": "9",
    "CONTROLPLANE_WORKER_BEAT_S": "2",
    "CONTROLPLANE_WORKER_CALL_S": "4",
    "CONTROLPLANE_WORKER_POLL_S": "0.2",
}


def shifted(by: str) -> dict[str, str]:
    """The variables of a process whose clock is wrong: time of day only, as after a bad NTP."""
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    return {"LD_PRELOAD": str(library), "FAKETIME": by, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


@contextmanager
def workers(variables: Sequence[Mapping[str, str]]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """One `controlplane worker` for each set of variables; each ends well when it is told to."""
    with ExitStack() as stack:
        processes = [stack.enter_context(_worker(each)) for each in variables]
        yield processes
        for process in processes:
            process.send_signal(signal.SIGTERM)
        assert [process.wait(60) for process in processes] == [0] * len(processes)


@contextmanager
def _worker(variables: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "controlplane", "worker"]
    with subprocess.Popen(command, cwd=ROOT, env=dict(variables)) as process:  # noqa: S603  ours
        try:
            yield process
        finally:
            process.kill()
