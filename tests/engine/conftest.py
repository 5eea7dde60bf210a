"""Two tenants by default: a bystander is active before the test begins and unharmed after it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random

import pytest

from tests.database import Database, Server
from tests.engine.ground import Ground, open_ground
from tests.engine.lab import Lab, open_lab
from tests.engine.lives import Trial, open_trial
from tests.engine.mortals import Zygote
from tests.engine.plans_under_test import Scenario
from tests.engine.world import assert_world, fingerprint


@pytest.fixture
async def empty_lab(database: Database, tmp_path: Path) -> AsyncIterator[Lab]:
    """A lab without any tenant; its world is looked over at the end."""
    async with open_lab(database, tmp_path) as lab:
        yield lab
        await assert_world(lab)


@pytest.fixture
async def lab(ground: Ground, tmp_path: Path) -> AsyncIterator[Lab]:
    """A lab with the bystander 'globex', in the database of its module."""
    async with ground.lab_anew(tmp_path) as opened:
        yield opened


@pytest.fixture
async def lab_apart(empty_lab: Lab) -> AsyncIterator[Lab]:
    """As `lab`, for whoever harms the database itself, or others' sessions: one of its own."""
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


@pytest.fixture(scope="module")
async def ground(server: Server, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ground]:
    """A lab with the bystander 'globex' for all tests of a module."""
    async with open_ground(server, tmp_path_factory.mktemp("ground")) as opened:
        yield opened


@pytest.fixture
async def trial(ground: Ground, scenario: Scenario, undoing: bool) -> AsyncIterator[Trial]:  # noqa: FBT001  both are parameters of the test
    """A bystander, and workers that die."""
    async with ground.anew(), open_trial(ground, scenario, undoing=undoing) as opened:
        yield opened


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> Random:
    """Draws alike in every run of one seed (pytest-randomly's, told at the top of a run)."""
    seed = request.config.getoption("randomly_seed", 0)
    return Random(f"{seed}/{request.node.name}")  # noqa: S311  no secret
