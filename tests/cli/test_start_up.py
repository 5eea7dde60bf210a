"""A database that is away, and settings that do not fit: one clear line, no traceback."""

from pathlib import Path

import pytest

from tests.cli.processes import run

NOWHERE = "postgresql://nobody:s3cret-owl@127.0.0.1:1/none"
SETTINGS = {
    "DATABASE_URL": NOWHERE,
    "DATABASE_URL_DIRECT": NOWHERE,
    "CONTROLPLANE_APP_DATABASE_URL": NOWHERE,
    "CONTROLPLANE_BASE_DOMAIN": "localhost",
    "CONTROLPLANE_DNS_TARGET": "127.0.0.1",
    "CONTROLPLANE_MAIL_FROM": "noreply@localhost",
}


@pytest.mark.parametrize(
    "command",
    [
        ["serve"],
        ["worker"],
        ["migrate"],
        ["dev", "--port=0"],
        ["token", "create", "--email=a@b.test", "--name=x"],
    ],
    ids=lambda command: command[0],
)
def test_a_database_that_is_away_is_told_in_one_line(command: list[str], tmp_path: Path) -> None:
    options = [f"--data-dir={tmp_path / 'site'}"] if command[0] == "dev" else []
    failed = run(*command, *options, environment=SETTINGS)
    assert failed.returncode == 1
    lines = [line for line in failed.stderr.splitlines() if not line.startswith("Starting")]
    assert len(lines) == 1, failed.stderr
    assert lines[0].startswith("Error: PostgreSQL cannot be reached: ")
    assert "s3cret-owl" not in failed.stderr + failed.stdout


def test_debug_shows_the_traceback_without_the_password() -> None:
    failed = run("--debug", "migrate", environment=SETTINGS)
    assert failed.returncode == 1
    assert "Traceback (most recent call last)" in failed.stderr
    assert "s3cret-owl" not in failed.stderr


def test_settings_that_are_missing_are_all_named_at_once() -> None:
    failed = run("serve")
    assert failed.returncode == 1
    for name in SETTINGS:
        assert name in failed.stderr
    assert "Traceback" not in failed.stderr
