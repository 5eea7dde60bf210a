"""Data to standard output, as a table or as JSON; everything else goes to standard error."""

import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

Command = TypeVar("Command", bound=Callable[..., Any])

# Whoever reads from a pipe wants whole lines.
_ENDLESS = 100_000
_COLOURS = {
    **dict.fromkeys(["active", "succeeded", "done", "yes"], "green"),
    **dict.fromkeys(["failed", "parked", "abandoned", "no"], "red"),
    **dict.fromkeys(["provisioning", "deleting", "purging", "running", "unwinding"], "yellow"),
    **dict.fromkeys(["deleted", "purged", "cancelled", "undone", "pending"], "dim"),
}


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"


def output_option(command: Command) -> Command:
    """Gives a command the option `--output`."""
    option = click.option(
        "-o",
        "--output",
        type=click.Choice(list(Output)),
        default=Output.TABLE,
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
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        if column == shrinks:
            table.add_column(column, no_wrap=True, overflow="ellipsis", min_width=6)
        else:
            table.add_column(column, no_wrap=True, overflow="ignore")
    for row in rows:
        table.add_row(*(styled(cell) for cell in row))
    console.print(table)


def print_fields(fields: Sequence[tuple[str, str]]) -> None:
    """One thing, a field a line."""
    console = _console()
    width = max(len(name) for name, _ in fields) + 2
    for name, value in fields:
        console.print(Text(name.ljust(width), "bold") + styled(value), soft_wrap=True)


def styled(cell: str) -> Text:
    """States have colours, where colours are wanted."""
    return Text(cell, _COLOURS.get(cell, ""))


def _console() -> Console:
    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console.width = _ENDLESS
    return console


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
