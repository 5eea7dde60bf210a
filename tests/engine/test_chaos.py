"""A moment of what `make chaos` does for minutes: real processes, real deaths."""

import json
import subprocess
import sys

import pytest

from tests.engine.mortals import ROOT

# Its first fault freezes a worker beyond its lease.
SEED = 6


@pytest.mark.timeout(600)
def test_a_moment_of_chaos_does_no_harm_and_says_so_in_one_line() -> None:
    command = [sys.executable, "-m", "tests.engine.chaos", "--minutes", "0.05", "--tenants", "8"]
    ended = subprocess.run(  # noqa: S603  ours
        [*command, "--workers", "2", "--seed", str(SEED), "--drain-s", "240"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    told = json.loads(ended.stdout.splitlines()[-1])
    assert set(told) == {
        *("kills", "operations", "from_pool", "violations", "duplicate_mails", "drained_s", "seed"),
    }
    assert (told["violations"], told["duplicate_mails"], told["seed"]) == (0, 0, SEED)
    assert told["kills"] >= 1
    assert told["operations"] >= 8
    assert told["from_pool"] >= 1
