"""What an operator gave up behind its pivot can be asked for again."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controlplane.errors import Permanent
from tests.database import Database
from tests.engine.hands import Fault
from tests.engine.stage import Stage, open_stage

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


@pytest.fixture
async def stage(database: Database, tmp_path: Path) -> AsyncIterator[Stage]:
    async with open_stage(database, tmp_path) as opened:
        yield opened


async def test_a_purge_that_was_abandoned_is_asked_for_again(stage):
    await stage.create("acme")
    (acme,) = stage.model.tenants
    await stage.work(stage.model.live()[0])
    for what in ("delete", "purge"):
        await stage.ask(what, acme, "acme")
        stage.weather["bury"] = Fault(Permanent, after_effect=False)
        await stage.work(stage.model.live()[0])
    (parked,) = await stage.parked()
    await stage.abandon(parked)
    assert stage.model.tenants[acme].state == "purging"
    stage.heal()

    await stage.ask("purge", acme, "acme")
    await stage.work(stage.model.live()[0])

    assert stage.model.tenants[acme].state == "purged"
    await stage.come_to_rest()
