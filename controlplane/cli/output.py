"""Data to standard output, as a table or as JSON; everything else goes to standard error."""

import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

import click
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

Command = TypeVar("Command", bound=Callable[..., Any])

_GAP = "  "
_NARROWEST = 6
_COLOURS = {
    **dict.fromkeys(["active", "succeeded", "done", "yes", "verified"], "green"),
    **dict.fromkeys(["failed", "parked", "abandoned", "no", "lost"], "red"),
    **dict.fromkeys(["provisioning", "deleting", "purging", "running", "unwinding"], "yellow"),
    **dict.fromkeys(["deleted", "purged", "cancelled", "undone", "pending"], "dim"),
}


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"


def one_of(values: type[StrEnum]) -> click.Choice[str]:
    """A choice of the values; click's own choice of an enum is one of its names."""
    return click.Choice([member.value for member in values])


def output_option(command: Command) -> Command:
    """Gives a command the option `--output`."""
    option = click.option(
        "-o",
        "--output",
        type=one_of(Output),
        callback=lambda _context, _parameter, value: Output(value),
        default="table",
        show_default=True,
        help="For people or for programs.",
    )
    return option(command)


def print_json(content: Any) -> None:
    """One JSON document."""
    click.echo(json.dumps(content, indent=2, ensure_ascii=False))


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, shrinks: str = ""
) -> None:
    """One row per thing. On a terminal the column `shrinks` gives way; no other is ever cut."""
    console = _console()
    widths = _widths(columns, rows, shrinks, console.width if console.is_terminal else None)
    console.print(_line(columns, widths, heading=True), soft_wrap=True)
    for row in rows:
        console.print(_line(row, widths), soft_wrap=True)


def _widths(
    columns: Sequence[str], rows: Sequence[Sequence[str]], shrinks: str, room: int | None
) -> list[int]:
    widths = [max(map(cell_len, cells)) for cells in zip(columns, *rows, strict=True)]
    if room is not None and shrinks:
        place = columns.index(shrinks)
        excess = sum(widths) + len(_GAP) * (len(widths) - 1) - room
        widths[place] = max(widths[place] - max(excess, 0), min(widths[place], _NARROWEST))
    return widths


def _line(cells: Sequence[str], widths: Sequence[int], *, heading: bool = False) -> Text:
    line = Text()
    for cell, width in zip(cells, widths, strict=True):
        part = Text(cell, "bold") if heading else styled(cell)
        part.truncate(width, overflow="ellipsis", pad=True)
        line.append_text(part).append(_GAP)
    line.rstrip()
    return line


def print_fields(fields: Sequence[tuple[str, str]]) -> None:
    """One thing, a field a line."""
    console = _console()
    width = max(len(name) for name, _ in fields) + len(_GAP)
    for name, value in fields:
        field = Text().append(name.ljust(width), "bold").append_text(styled(value))
        console.print(field, soft_wrap=True)


def styled(cell: str) -> Text:
    """States have colours, where colours are wanted."""
    return Text(cell, _COLOURS.get(cell, ""))


def _console() -> Console:
    return Console(file=sys.stdout, highlight=False)


def tell(message: str) -> None:
    """A line for people."""
    click.echo(message, err=True)


def age(moment: str, *, now: datetime | None = None) -> str:
    """How long ago, in the largest unit that fits: `42s`, `7m`, `3h`, `12d`."""
    seconds = int(((now or datetime.now(UTC)) - datetime.fromisoformat(moment)).total_seconds())
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{max(seconds, 0)}s"
