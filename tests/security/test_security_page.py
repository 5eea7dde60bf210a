"""docs/explanation/security.md: every control is there, and every test that it names."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "explanation" / "security.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| ([A-Z]+-\d\d) \|.*\| ([^|]*) \|$", PAGE, re.MULTILINE))

# What isolation and routing must have.
ISOLATION = {f"ISO-{number:02}" for number in range(1, 16)}
ROUTING = {f"RTG-{number:02}" for number in range(1, 20)}


def _tests() -> set[str]:
    files = (ROOT / "tests").rglob("test_*.py")
    return {
        name
        for file in files
        for name in re.findall(
            r"^(?:async )?def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE
        )
    }


def test_every_control_is_told_or_said_to_be_missing() -> None:
    missing = set(re.findall(r"([A-Z]+-\d\d) \(", PAGE.partition("Not there yet:")[2]))
    assert missing.isdisjoint(ROWS)
    assert {row for row in (*ROWS, *missing) if row[:3] in {"ISO", "RTG"}} == ISOLATION | ROUTING


def test_each_control_names_tests_and_they_exist() -> None:
    tests = _tests()
    named = {row: set(re.findall(r"`(\w+)`", held)) for row, held in ROWS.items()}
    assert [row for row, names in named.items() if not names] == []
    assert {row: names - tests for row, names in named.items() if names - tests} == {}
