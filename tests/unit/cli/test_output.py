"""Tables, fields and step lists, on a terminal and off it."""

from datetime import UTC, datetime
from typing import Any

import click
import pytest

from controlplane.cli.exits import CommandFailed
from controlplane.cli.follow import require_success
from controlplane.cli.output import age, flowing, print_fields, print_json, print_table
from controlplane.cli.steps import step_list

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_off_a_terminal_nothing_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("NAME", "ID"), [("n" * 300, "1"), ("short", "2")], shrinks="NAME")
    heading, long, short = capsys.readouterr().out.splitlines()
    assert long == f"{'n' * 300}  1"
    assert short.split() == ["short", "2"]
    assert heading.index("ID") == long.index("1") == short.index("2")


@pytest.mark.parametrize("columns", [40, 80])
def test_on_a_terminal_one_column_gives_way(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    print_table(("NAME", "ID"), [("n" * 300, "i" * 20)], shrinks="NAME")
    line = capsys.readouterr().out.splitlines()[1]
    assert line == f"{'n' * (columns - 23)}…  {'i' * 20}"


WHY = 'DuplicateColumn: column "remark" of relation "documents" already exists [sql_failed]'


def test_off_a_terminal_nothing_goes_on_in_a_further_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(("FAILED", "WHY"), [("acme", WHY)], wraps="WHY")
    flowing(f"  {WHY}", hang=2)
    told = capsys.readouterr().out
    assert told == f"FAILED  WHY\nacme    {WHY}\n  {WHY}\n"


def test_on_a_terminal_what_is_long_goes_on_below(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"FORCE_COLOR": "1", "NO_COLOR": "1", "COLUMNS": "50"}.items():
        monkeypatch.setenv(name, value)
    rows = [("acme", "rest", WHY, "1"), ("globex", "rest", "", "2")]
    print_table(("FAILED", "RING", "WHY", "TRIES"), rows, wraps="WHY")
    flowing(f"\nshort\n  {WHY}", hang=2, err=True)
    told = capsys.readouterr()
    assert click.unstyle(told.out).splitlines() == [
        "FAILED  RING  WHY                            TRIES",
        "acme    rest  DuplicateColumn: column        1",
        '              "remark" of relation',
        '              "documents" already exists',
        "              [sql_failed]",
        "globex  rest                                 2",
    ]
    assert told.err.splitlines() == [
        "",
        "short",
        '  DuplicateColumn: column "remark" of relation',
        '    "documents" already exists [sql_failed]',
    ]


def test_a_reason_is_readable_however_little_room_there_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"FORCE_COLOR": "1", "NO_COLOR": "1", "COLUMNS": "30"}.items():
        monkeypatch.setenv(name, value)
    print_table(("FAILED", "WHY"), [("n" * 63, f"{'x' * 30} it")], wraps="WHY")
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line[65:] for line in lines] == ["x" * 20, f"{'x' * 10} it"]


def test_states_have_colours_only_where_they_are_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    print_fields([("State", "active")])
    assert "\x1b[32mactive\x1b[0m" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    print_fields([("State", "active")])
    assert "[32m" not in capsys.readouterr().out


def test_json_keeps_letters_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": "Ärzte"})
    assert capsys.readouterr().out == '{\n  "name": "Ärzte"\n}\n'


@pytest.mark.parametrize(
    ("moment", "told"),
    [
        ("2026-11-21T12:00:05+00:00", "0s"),
        ("2026-11-21T11:59:01Z", "59s"),
        ("2026-11-21T11:59:00Z", "1m"),
        ("2026-11-21T09:30:00Z", "2h"),
        ("2026-11-01T12:00:00Z", "20d"),
    ],
)
def test_an_age_is_told_in_its_largest_unit(moment: str, told: str) -> None:
    assert age(moment, now=NOW) == told


def operation(state: str, *steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": "o1", "state": state, "steps": list(steps), "error": None, **more}


def step(state: str, **more: Any) -> dict[str, Any]:
    times = {"started_at": None, "finished_at": None}
    return (
        {"name": "dns", "state": state, "attempt": 1, "undo_attempt": 0, "error": None}
        | times
        | more
    )


def test_off_a_terminal_each_change_of_a_step_is_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    busy = {"code": "provider_unavailable", "detail": "Come back."}
    times = {"started_at": "2026-11-21T12:00:00Z", "finished_at": "2026-11-21T12:00:01.5Z"}
    with step_list("Creating 'acme'") as show:
        for now in (step("pending"), step("started"), step("started")):
            show(operation("running", now))
        show(operation("running", step("started", attempt=2, error=busy)))
        show(operation("succeeded", step("done", **times)))
    assert capsys.readouterr().err.splitlines() == [
        "Creating 'acme'",
        "  dns         started",
        "  dns         started  attempt 2: Come back. [provider_unavailable]",
        "  dns         done  1.50 s",
    ]


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("failed", "nothing of it is left"),
        ("cancelled", "was cancelled and undone"),
        ("parked", "controlplane operation resume o1"),
        ("abandoned", "was abandoned"),
    ],
)
def test_an_operation_that_did_not_succeed_is_a_failure(state: str, told: str) -> None:
    error = {"code": "dns_conflict", "detail": "Taken."}
    with pytest.raises(CommandFailed, match=told) as failure:
        require_success(operation(state, error=error))
    assert "Taken. [dns_conflict]" in str(failure.value)


def test_an_operation_that_succeeded_is_none() -> None:
    require_success(operation("succeeded"))
