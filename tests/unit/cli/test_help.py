"""The help comes at once and tells what there is."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

import controlplane
from controlplane.cli.exits import MEANINGS, Exit
from controlplane.cli.root import COMMANDS, root, run

REFERENCE = Path(controlplane.__file__).parents[1] / "docs" / "reference" / "cli.md"
HEAVY = (
    "alembic",
    "asyncio",
    "boto3",
    "httpx2",
    "litestar",
    "psycopg",
    "pydantic",
    "rich",
    "sqlalchemy",
    "structlog",
)
_PROBE = """
import sys
from controlplane.cli.root import run
code = run(["--help"])
print("loaded:", *sorted({name.partition(".")[0] for name in sys.modules}))
sys.exit(code)
"""


def commands(group: click.Group, prefix: str = "") -> dict[str, click.Command]:
    """Every command that does something, by its full name."""
    context = click.Context(group)
    found: dict[str, click.Command] = {}
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            found |= commands(command, f"{prefix}{name} ")
        elif command is not None:
            found[f"{prefix}{name}"] = command
    return found


EVERY = commands(root)


def test_help_imports_nothing_heavy() -> None:
    done = subprocess.run(  # noqa: S603  our own program
        [sys.executable, "-c", _PROBE], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stdout.splitlines()[-1].removeprefix("loaded:").split())
    assert "click" in loaded
    assert not loaded & {*HEAVY}


def test_help_lists_every_command_and_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    told = capsys.readouterr().out
    for name in COMMANDS:
        assert f"\n  {name} " in told
    for code, meaning in MEANINGS.items():
        assert f"  {code.value:<3}  {meaning}" in told


@pytest.mark.parametrize("name", sorted(EVERY))
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*name.split(), "--help"]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"Usage: controlplane {name} [OPTIONS]")
    assert EVERY[name].help


@pytest.mark.parametrize("arguments", [["nonsense"], ["tenant", "nonsense"], ["--nonsense"]])
def test_wrong_usage_is_told_as_such(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    assert capsys.readouterr().out == ""


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"{controlplane.__version__}\n"


def test_the_reference_names_every_command_with_its_options() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    for name, command in EVERY.items():
        section = text.partition(f"### `controlplane {name}`\n")[2].partition("\n### ")[0]
        assert section, f"docs/reference/cli.md lacks 'controlplane {name}'"
        for parameter in command.params:
            option = max(parameter.opts, key=len)
            hidden = isinstance(parameter, click.Option) and parameter.hidden
            if option.startswith("--") and option != "--help" and not hidden:
                assert f"`{option}" in section, f"{name} lacks {option} in docs/reference/cli.md"


def test_the_reference_names_no_command_that_is_not_there() -> None:
    headings = [
        line.removeprefix("### `controlplane ").rstrip("`")
        for line in REFERENCE.read_text(encoding="utf-8").splitlines()
        if line.startswith("### `controlplane ")
    ]
    assert sorted(headings) == sorted(EVERY)


def test_the_reference_tells_the_same_exit_codes() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    rows = [f"| {code.value} | {MEANINGS[code]} |" for code in Exit]
    assert "\n".join(rows) in text
