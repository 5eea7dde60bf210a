"""Ends the report of a test run with what was crashed, and fails it where a failpoint never was.

Loaded as a plugin by the whole suite; every worker of a run tells its controller what it has seen.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

_FOLDER = Path(__file__).parent
_KEY = "engine"


@dataclass(eq=False)
class Report:
    """Of one process; the controller's adds up those of its workers."""

    config: pytest.Config
    # Whether all tests of this folder were selected; without workers, one process answers.
    whole: bool = False
    tests: int = 0
    more: int = 0
    hit: set[str] = field(default_factory=set)
    _parts: list[bool] = field(default_factory=list)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        selected = {item.path for item in session.items if item.path.parent == _FOLDER}
        by_name = any("::" in argument for argument in self.config.args)
        files = set(_FOLDER.glob("test_*.py"))
        self._parts.append(selected == files and not by_name)

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        self._parts.append(all(item.path.parent != _FOLDER for item in items))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.nodeid.startswith("tests/engine/"):
            self.tests += 1

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:  # noqa: ARG002  pytest's
        told = getattr(node, "workeroutput", {}).get(_KEY)
        if told is None:
            self._parts.append(False)
        else:
            self._add(**told)

    def _add(self, *, whole: bool, hit: list[str], more: int) -> None:
        self._parts.append(whole)
        self.hit.update(hit)
        self.more += more

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._add_own()
        self.whole = bool(self._parts) and all(self._parts)
        output: dict[str, Any] | None = getattr(self.config, "workeroutput", None)
        if output is not None:
            output[_KEY] = {"whole": self.whole, "hit": sorted(self.hit), "more": self.more}
        elif self.missed() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _add_own(self) -> None:
        from tests.engine.failpoints import log  # noqa: PLC0415  imports the engine

        self.hit |= log.hit
        self.more += log.more

    def missed(self) -> list[str]:
        """Failpoints where nothing died, once every test had its chance; none in a partial run."""
        if not self.whole or not self.tests:
            return []
        return sorted(_registered() - self.hit)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.tests:
            return
        hit = f"failpoints hit {len(self.hit & _registered())} of {len(_registered())}"
        part = "" if self.whole else " (a part of its tests ran)"
        terminalreporter.write_line(f"engine: {self.tests + self.more} cases, {hit}{part}")
        for missed in self.missed():
            terminalreporter.write_line(f"engine: no worker died at: {missed}", red=True)


def _registered() -> frozenset[str]:
    from tests.engine.failpoints import registered  # noqa: PLC0415  imports the engine

    return registered()


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Report(config), "engine-report")
