"""Two tenants by default: a bystander is active before the test begins and unharmed after it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.database import Database
from tests.engine.lab import Lab, open_lab
from tests.engine.mortals import Zygote
from tests.engine.world import assert_world, fingerprint


@pytest.fixture
async def empty_lab(database: Database, tmp_path: Path) -> AsyncIterator[Lab]:
    """A lab without any tenant; its world is looked over at the end."""
    async with open_lab(database, tmp_path) as lab:
        yield lab
        await assert_world(lab)


@pytest.fixture
async def lab(empty_lab: Lab) -> AsyncIterator[Lab]:
    """A lab with the bystander 'globex'."""
    bystander = await empty_lab.active("globex")
    before = await fingerprint(empty_lab, bystander)
    empty_lab.visited.clear()
    yield empty_lab
    assert await fingerprint(empty_lab, bystander) == before


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """Where workers that kill themselves come from."""
    with Zygote() as made:
        yield made
