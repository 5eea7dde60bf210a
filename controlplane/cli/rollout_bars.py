"""A rollout while it happens: a bar for each ring on a terminal, plain lines elsewhere."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from controlplane.domain.rollouts import ENDED, RolloutState

Json = dict[str, Any]
Show = Callable[[Json], None]

_COUNTS = (("failed", "red"), ("waiting", "yellow"), ("skipped", "dim"))
_MINUTE_S, _HOUR_S = 60, 3600
_STYLES = {"running": "cyan", "succeeded": "green", "halted": "red", "incomplete": "yellow"}
_BAR = 32


@contextlib.contextmanager
def bars() -> Iterator[Show]:
    """What shows a rollout, again and again, on standard error."""
    console = Console(file=sys.stderr, highlight=False)
    if console.is_terminal:
        with Live(console=console, refresh_per_second=8) as live:
            yield lambda rollout: live.update(picture(rollout))
    else:
        yield _Lines()


def picture(rollout: Json) -> RenderableType:
    """The state, a bar for each ring, why it was halted, and who alone carries it out."""
    rows = Table(box=None, pad_edge=False, show_header=False)
    rows.add_column(no_wrap=True)
    rows.add_column(width=_BAR)
    rows.add_column(no_wrap=True, justify="right")
    rows.add_column(no_wrap=True)
    for ring in rollout["rings"]:
        size, over = _size(ring), _over(ring)
        style = "bold" if ring["name"] == rollout["ring"] and _lives(rollout) else ""
        bar = ProgressBar(total=max(size, 1), completed=over if size else 1, width=_BAR)
        rows.add_row(Text(ring["name"], style), bar, f"{over}/{size}", _counts(ring))
    parts: list[RenderableType] = [_headline(rollout), rows]
    if rollout["error"]:
        parts.append(Text(rollout["error"]["detail"], "red"))
    if told := foreign(rollout):
        parts.append(Text(told, "yellow"))
    return Group(*parts)


def headline(rollout: Json) -> str:
    """State and revision, and of one that goes on rate and what is left, on one line."""
    told = [f"{rollout['state']}  to {rollout['revision']}"]
    if rollout["soaks_for_s"] and _lives(rollout):
        told.append(f"ring '{rollout['ring']}' begins in {span(rollout['soaks_for_s'])}")
    if rollout["state"] == RolloutState.RUNNING:
        told += _pace(rollout)
    return "  ".join(told)


def foreign(rollout: Json) -> str | None:
    """Why one that goes on may not get on: its workers are others than those of the API asked."""
    if not rollout["other_release"] or not _lives(rollout):
        return None
    return "It is of another release, and that one's workers alone carry it out. If they are gone: cancel it."


def _pace(rollout: Json) -> list[str]:
    rate, left = rollout["per_s"], rollout["eta_s"]
    told = [f"{rate:.0f}/s" if rate >= 1 else f"{rate:.1f}/s"] if rate else []
    return [*told, f"about {span(left)} left"] if left else told


def _headline(rollout: Json) -> Text:
    return Text(headline(rollout), f"bold {_STYLES.get(rollout['state'], '')}".strip())


class _Lines:
    """A line for each tenth of a ring, each change of state and each failure."""

    def __init__(self) -> None:
        self._seen: set[tuple[Any, ...]] = set()

    def __call__(self, rollout: Json) -> None:
        self._once((rollout["state"], rollout["ring"]), headline(rollout))
        if told := foreign(rollout):
            self._once((told,), f"  {told}")
        for ring in rollout["rings"]:
            size, over = _size(ring), _over(ring)
            if over:
                seen = (ring["name"], over * 10 // size, ring["failed"])
                self._once(seen, f"  {ring['name']:<10}  {over}/{size}  {_counts(ring)}".rstrip())

    def _once(self, what: tuple[Any, ...], line: str) -> None:
        if what not in self._seen:
            self._seen.add(what)
            print(line, file=sys.stderr, flush=True)


def _size(ring: Json) -> int:
    return int(ring["pending"] + _over(ring))


def _over(ring: Json) -> int:
    return int(ring["done"] + ring["failed"] + ring["skipped"])


def _counts(ring: Json) -> Text:
    parts = [Text(f"{ring[name]} {name}", style) for name, style in _COUNTS if ring[name]]
    return Text("  ").join(parts)


def _lives(rollout: Json) -> bool:
    return rollout["state"] not in ENDED


def span(seconds: float) -> str:
    """`42 s`, `7 min`, `3.5 h`."""
    if seconds < _MINUTE_S:
        return f"{seconds:.0f} s"
    return f"{seconds / _MINUTE_S:.0f} min" if seconds < _HOUR_S else f"{seconds / _HOUR_S:.1f} h"
