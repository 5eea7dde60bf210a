"""An operation's steps while they happen: a live list on a terminal, plain lines elsewhere."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

Json = dict[str, Any]
Show = Callable[[Json], None]

_VISIBLE_S = 0.005
_SIGNS = {
    "pending": Text("·", "dim"),
    "done": Text("✓", "green"),
    "undone": Text("↶", "yellow"),
}


@contextlib.contextmanager
def step_list(title: str) -> Iterator[Show]:
    """What shows an operation, again and again, on standard error."""
    console = Console(file=sys.stderr, highlight=False)
    if console.is_terminal:
        with Live(console=console, refresh_per_second=12) as live:
            yield lambda operation: live.update(_Picture(title, operation))
    else:
        yield _Lines(title)


class _Picture:
    """Drawn anew at each refresh, so that the seconds of a running step go on."""

    def __init__(self, title: str, operation: Json) -> None:
        self._title = title
        self._operation = operation
        self._spinner = Spinner("dots", style="cyan")

    def __rich__(self) -> Group:
        rows = Table(box=None, pad_edge=False, show_header=False)
        rows.add_column(width=2, justify="right")
        rows.add_column(no_wrap=True)
        rows.add_column(no_wrap=True, justify="right", style="dim")
        rows.add_column(overflow="fold")
        for step in self._operation["steps"]:
            sign = _SIGNS.get(step["state"], self._spinner)
            rows.add_row(sign, step["name"], _taken(step), Text(_remark(step), "yellow"))
        return Group(Text(self._title, "bold"), rows)


class _Lines:
    """A line for each change of a step."""

    def __init__(self, title: str) -> None:
        self._seen: dict[str, tuple[str, str]] = {}
        self._print(title)

    def __call__(self, operation: Json) -> None:
        for step in operation["steps"]:
            now = (step["state"], _remark(step))
            if self._seen.get(step["name"], ("pending", "")) != now:
                self._seen[step["name"]] = now
                self._print("  ".join(filter(None, [f"  {step['name']:<10}", *_words(step)])))

    def _print(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


def _words(step: Json) -> list[str]:
    taken = _taken(step) if step["finished_at"] else ""
    return [step["state"].replace("_", " "), taken, _remark(step)]


def _taken(step: Json) -> str:
    if step["started_at"] is None or step["state"].startswith("und"):
        return ""
    began = datetime.fromisoformat(step["started_at"])
    ended = step["finished_at"] and datetime.fromisoformat(step["finished_at"])
    seconds = ((ended or datetime.now(UTC)) - began).total_seconds()
    # A local step begins and ends in one transaction, that is at one time.
    return f"{seconds:.2f} s" if seconds >= _VISIBLE_S else ""


def _remark(step: Json) -> str:
    """What hinders a step, as long as it does."""
    error = step["error"]
    if error is None or step["state"] in {"done", "pending"}:
        return ""
    attempt = step["undo_attempt"] if step["state"].startswith("undo") else step["attempt"]
    again = f"attempt {attempt}: " if attempt > 1 else ""
    return f"{again}{error.get('detail', '')} [{error.get('code', 'unknown')}]"
