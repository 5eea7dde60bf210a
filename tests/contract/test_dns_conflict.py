"""Whatever stands at a tenant's name already, at every provider: the operation gives way to it."""

from dataclasses import replace
from pathlib import Path

import pytest

from controlplane import worker
from controlplane.domain.dns import RecordType
from tests.contract.dns_peers import OPEN, PEERS
from tests.database import Database
from tests.engine.lab import open_lab

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("provider", PEERS)
async def test_a_tenant_whose_name_has_a_foreign_record_is_rolled_back_and_the_record_stays(
    provider: str, request: pytest.FixtureRequest, database: Database, tmp_path: Path
) -> None:
    async with OPEN[provider](request, tmp_path) as peer, open_lab(database, tmp_path) as lab:
        lab.parts = replace(lab.parts, dns=peer.dns)
        lab.steps = worker.open_steps(lab.parts)
        await lab.active("globex")
        peer.place_foreign("acme", RecordType.A, "192.0.2.66")
        before = peer.world()
        operation = await lab.settle(await lab.create("acme"))
        assert operation.error
        assert (operation.state, operation.error["code"]) == ("failed", "dns_conflict")
        assert peer.world() == before
        schemas = await lab.sql("SELECT FROM pg_namespace WHERE nspname LIKE 'tenant\\_%'")
        assert len(schemas) == 1
