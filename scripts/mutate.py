"""Breaks the heart of the engine in one small place after another, and counts which breaks the fast
tests notice.

    .venv/bin/python scripts/mutate.py [moves] [plans] [journal] [--lines A-B]

Every mutant is tested in a forked process that imports the broken module from memory, so the tree
is never changed. Ends with one line of JSON; the exit code is 1 if the score is below the bar.
"""

import argparse
import importlib.abc
import importlib.util
import json
import os
import signal
import sys
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path
from time import monotonic
from types import ModuleType
from typing import Any

import pytest
from mutants import mutants

ROOT = Path(__file__).parents[1]
BAR = 0.85
# A mutant that takes so many times as long as the unbroken module hangs.
PATIENCE = 5
LONGEST_S = 600


@dataclass(frozen=True)
class Subject:
    """A module, and the fast tests that are to notice what is broken in it."""

    module: str
    tests: tuple[str, ...]

    @property
    def path(self) -> Path:
        return ROOT / f"{self.module.replace('.', '/')}.py"


SUBJECTS = {
    "moves": Subject("controlplane.domain.moves", ("tests/unit/domain/test_moves.py",)),
    "plans": Subject(
        "controlplane.provisioning.plans",
        (
            "tests/unit/provisioning/test_plans.py",
            "tests/unit/provisioning/test_released_plans.py",
        ),
    ),
    "journal": Subject(
        "controlplane.provisioning.journal",
        tuple(
            f"tests/engine/journal/test_{name}.py"
            for name in ("writes", "fence", "step_deadlines", "claim")
        ),
    ),
}


class Broken(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the one module from the text that it was given; nothing of it is cached."""

    def __init__(self, subject: Subject, source: bytes) -> None:
        self.subject, self.source = subject, source

    def find_spec(self, fullname: str, *_more: object) -> ModuleSpec | None:
        if fullname != self.subject.module:
            return None
        return importlib.util.spec_from_loader(fullname, self)

    def exec_module(self, module: ModuleType) -> None:
        code = compile(self.source, str(self.subject.path), "exec")
        exec(code, module.__dict__)  # noqa: S102  what importing is


@dataclass
class Tally:
    """What became of the mutants."""

    killed: int = 0
    survivors: list[str] = field(default_factory=list)

    @property
    def score(self) -> float:
        return self.killed / max(1, self.killed + len(self.survivors))


@dataclass(frozen=True)
class Shared:
    """A pytest plugin: every run uses the one PostgreSQL that was started before the forks, and on it
    the one database, which the tests of the journal empty before they begin."""

    server: Any
    database: Any

    def pytest_configure(self, config: Any) -> None:
        import tests.database  # noqa: PLC0415  of this process

        config.workerinput = {"server": self.server.packed()}
        vars(tests.database)["fresh_database"] = lambda _server: nullcontext(self.database)


def passes(subject: Subject, source: bytes, shared: Shared, limit_s: int = LONGEST_S) -> bool:
    """Whether the tests pass with this text in the module's place."""
    child = os.fork()
    if child == 0:
        signal.alarm(limit_s)  # by default it ends the process
        os._exit(_tested(subject, source, shared))
    _, status = os.waitpid(child, 0)
    return status == 0


def _tested(subject: Subject, source: bytes, shared: Shared) -> int:
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    for name in [n for n in sys.modules if n.split(".")[0] in {"controlplane", "tests"}]:
        del sys.modules[name]
    sys.meta_path.insert(0, Broken(subject, source))
    plugins = ["--disable-plugin-autoload", "-panyio", "-ppytest_timeout", "-pno:cacheprovider"]
    try:
        asked = ["-x", "-q", "--timeout=0", "--assert=plain", *plugins, *subject.tests]
        return int(pytest.main(asked, plugins=[shared]))
    except BaseException:  # noqa: BLE001  a broken module may raise anything at its import
        return 1


def measure(subject: Subject, shared: Shared, lines: range) -> Tally:
    source, begun = subject.path.read_bytes(), monotonic()
    if not passes(subject, source, shared):
        raise SystemExit(f"The tests of {subject.module} fail as it is.")
    tally, limit_s = Tally(), 30 + int(PATIENCE * (monotonic() - begun))
    found = [mutant for mutant in mutants(source) if mutant.line in lines]
    for number, mutant in enumerate(found):
        print(f"{number} of {len(found)}", end="\r", file=sys.stderr, flush=True)
        if passes(subject, mutant.of(source), shared, limit_s):
            tally.survivors.append(f"{subject.path.relative_to(ROOT)}:{mutant.told(source)}")
            print(tally.survivors[-1], flush=True)
        else:
            tally.killed += 1
    return tally


def _lines(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subjects", nargs="*", choices=[*SUBJECTS, []], help="all by default")
    everywhere = range(sys.maxsize)
    parser.add_argument("--lines", type=_lines, default=everywhere, help="only these, as in 20-40")
    asked = parser.parse_args()
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT), str(ROOT / "dns"), str(ROOT / "emails")]
    # What is imported here, every fork has already; what is ours it imports anew.
    import controlplane.worker  # noqa: F401, PLC0415
    from tests.database import fresh_database, running_server  # noqa: PLC0415

    begun, total = monotonic(), Tally()
    with running_server("18") as server, fresh_database(server) as database:
        for name in asked.subjects or SUBJECTS:
            tally = measure(SUBJECTS[name], Shared(server, database), asked.lines)
            print(
                f"{name}: {tally.killed} killed, {len(tally.survivors)} survived, {tally.score:.1%}"
            )
            total.killed += tally.killed
            total.survivors += tally.survivors
    told = {
        "killed": total.killed,
        "survived": len(total.survivors),
        "score": round(total.score, 3),
        "seconds": round(monotonic() - begun),
    }
    print(json.dumps(told))
    return 0 if total.score >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
