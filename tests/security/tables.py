"""Tables of docs/explanation/isolation.md, which the tests work out and compare."""

from collections.abc import Iterable
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "isolation.md"


def documented(first_heading: str) -> list[tuple[str, ...]]:
    """The rows of the page's table whose first column has this heading."""
    lines = iter(PAGE.read_text(encoding="utf-8").splitlines())
    for line in lines:
        if line.startswith(f"| {first_heading} |"):
            break
    next(lines)
    return list(map(_cells, _table(lines)))


def printed(rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _table(lines: Iterable[str]) -> Iterable[str]:
    for line in lines:
        if not line.startswith("|"):
            return
        yield line


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.strip("|").split("|"))
