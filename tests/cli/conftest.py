"""Folders for whole control planes, and commands that talk to the one of the module."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from controlplane import embedded
from controlplane.cli.root import run
from tests.cli.commands import Cli, Done
from tests.cli.processes import Dev


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder that does not exist yet; what runs in it when it is given back is ended."""
    yield from _folder()


@pytest.fixture(scope="module")
def shared_folder() -> Iterator[Path]:
    yield from _folder()


def _folder() -> Iterator[Path]:
    # Below a folder that everybody may pass, which pytest's own is not when root runs it.
    parent = Path(tempfile.mkdtemp(prefix="controlplane-cli-test-", dir=embedded.memory()))
    parent.chmod(0o711)
    yield parent / "site"
    for file in parent.glob("site/postgres/cluster/postmaster.pid"):
        with suppress(ProcessLookupError):
            os.kill(int(file.read_text().split()[0]), signal.SIGQUIT)
    shutil.rmtree(parent, ignore_errors=True)


@pytest.fixture
def cli(dev: Dev, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """A command, run in this process with the environment that a user of `dev` would set."""
    monkeypatch.setenv("CONTROLPLANE_URL", dev.ready["url"])
    monkeypatch.setenv("CONTROLPLANE_TOKEN", dev.ready["admin_token"])

    def call(*arguments: str) -> Done:
        code = run(arguments)
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return call


@pytest.fixture
def owner(dev: Dev, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of the control plane itself, as `dev` leaves them for a shell."""
    for line in (dev.folder / "settings.env").read_text().splitlines():
        name, _, value = line.partition("=")
        monkeypatch.setenv(name, value.strip("'"))
