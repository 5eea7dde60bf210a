"""Folders for whole control planes."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from controlplane import embedded


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
