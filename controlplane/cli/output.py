"""Data to standard output, as a table or as JSON; everything else goes to standard error."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
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
# Of a column whose cells go on in further lines; narrower ones would be one word high.
_NARROWEST_WRAPPED = 20
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
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, shrinks: str = "", wraps: str = ""
) -> None:
    """One row per thing. On a terminal the column `shrinks` is cut, or the cells of `wraps` go on in
    further lines, where there is no room; no other is ever cut."""
    console = _console()
    room = console.width if console.is_terminal else None
    widths = _widths(
        columns, rows, shrinks or wraps, room, _NARROWEST_WRAPPED if wraps else _NARROWEST
    )
    console.print(_line([Text(name, "bold") for name in columns], widths), soft_wrap=True)
    for row in rows:
        cells = [styled(cell) for cell in row]
        for line in _wrapped(console, cells, widths, columns.index(wraps)) if wraps else [cells]:
            console.print(_line(line, widths), soft_wrap=True)


def _widths(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    gives_way: str,
    room: int | None,
    narrowest: int,
) -> list[int]:
    widths = [max(map(cell_len, cells)) for cells in zip(columns, *rows, strict=True)]
    if room is not None and gives_way:
        place = columns.index(gives_way)
        excess = sum(widths) + len(_GAP) * (len(widths) - 1) - room
        widths[place] = max(widths[place] - max(excess, 0), min(widths[place], narrowest))
    return widths


def _wrapped(
    console: Console, cells: list[Text], widths: Sequence[int], place: int
) -> Iterator[list[Text]]:
    """The row in as many lines as the cell at that place needs."""
    for number, piece in enumerate(cells[place].wrap(console, widths[place]) or [Text()]):
        line = [Text() for _ in cells] if number else list(cells)
        line[place] = piece
        yield line


def _line(cells: Sequence[Text], widths: Sequence[int]) -> Text:
    line = Text()
    for cell, width in zip(cells, widths, strict=True):
        part = cell.copy()
        part.truncate(width, overflow="ellipsis", pad=True)
        line.append_text(part).append(_GAP)
    line.rstrip()
    return line


def flowing(text: str, *, hang: int = 0, err: bool = False) -> None:
    """Lines that on a terminal break between words and go on below where they began, or `hang` cells
    further in."""
    console = Console(file=sys.stderr if err else sys.stdout, highlight=False)
    for line in text.split("\n"):
        said = line.lstrip()
        margin = len(line) - len(said)
        if not console.is_terminal or cell_len(line) <= console.width:
            click.echo(line, err=err)
            continue
        pieces = Text(said).wrap(console, max(console.width - margin - hang, _NARROWEST_WRAPPED))
        for number, piece in enumerate(pieces):
            click.echo(" " * (margin + (hang if number else 0)) + piece.plain.rstrip(), err=err)


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
