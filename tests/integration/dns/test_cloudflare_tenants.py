"""Tenants whose records stand at Cloudflare (its stand-in), from the first operation to the last."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from controlplane import worker
from controlplane.domain.naming import Subdomain
from controlplane.provisioning import lifecycle
from tests.contract.cloudflare_fake import CloudflareFake
from tests.contract.cloudflare_peer import CHANGES, provider
from tests.database import Database
from tests.engine.faults import Failure
from tests.engine.lab import ACTOR, Lab, open_lab
from tests.http_server import Fault

pytestmark = pytest.mark.anyio

ZONE = "apps.test"


@dataclass
class Site:
    lab: Lab
    fake: CloudflareFake

    def names(self) -> set[str]:
        """All names in the zone but the bystander's."""
        found = {one["name"].removesuffix(f".{ZONE}") for one in self.fake.records.values()}
        return found - {"globex"}


@pytest.fixture
async def site(database: Database, tmp_path: Path) -> AsyncIterator[Site]:
    """With the bystander globex, whose record must not change."""
    async with CloudflareFake(ZONE) as fake, open_lab(database, tmp_path) as lab:
        lab.parts = replace(lab.parts, dns=provider(fake.api, domain=ZONE))
        lab.steps = worker.open_steps(lab.parts)
        await lab.active("globex")
        before = fake.at("globex")
        yield Site(lab, fake)
        assert fake.at("globex") == before


async def test_a_tenant_has_exactly_one_record_through_its_life_and_none_after_it(
    site: Site,
) -> None:
    lab, fake = site.lab, site.fake
    fake.faults = [Fault(429, headers={"Retry-After": "30"}), Fault(502, method=CHANGES)]
    tenant_id = await lab.active("acme")
    assert [one["content"] for one in fake.at("acme")] == ["192.0.2.7"]
    async with lab.parts.control.begin() as conn:
        renamed = await lifecycle.rename(
            conn, tenant_id, subdomain=Subdomain("acme-new"), actor=ACTOR, deadline_s=300
        )
    fake.faults = [Fault(504, method="POST", after_effect=True)]
    assert (await lab.settle(renamed)).state == "succeeded"
    assert site.names() == {"acme-new"}
    fake.faults = [Fault(504, method="DELETE", after_effect=True)]
    assert (await lab.settle(await lab.delete(tenant_id))).state == "succeeded"
    assert site.names() == set()
    assert fake.faults == []


async def test_a_rollback_that_an_outage_holds_up_is_healed_without_an_operator(
    site: Site,
) -> None:
    lab = site.lab
    lab.steps = Failure("verify", "ensure").wrap(lab.steps)

    async def failpoint(place: str) -> None:
        if place == "operation:provision:before-unwind":
            site.fake.faults = [Fault(503, times=1_000_000)]

    lab.failpoint = failpoint
    operation = await lab.settle(await lab.create("acme"))
    assert operation.state == "parked"
    assert site.names() == {"acme"}

    site.fake.faults = []
    await worker.open_reaper(lab.parts).sweep()
    assert (await lab.settle(operation)).state == "failed"
    assert site.names() == set()


async def test_a_record_that_is_gone_is_found_missing_and_made_again(site: Site) -> None:
    lab = site.lab
    await lab.active("acme")
    for one in site.fake.at("acme"):
        del site.fake.records[one["id"]]
    reaper = worker.open_reaper(lab.parts)
    assert [await reaper.sweep(), await reaper.sweep()] == [0, 1]
    (row,) = await lab.sql("SELECT id FROM public.operations WHERE finished_at IS NULL")
    assert (await lab.settle(await lab.view(row.id))).state == "succeeded"
    assert [one["content"] for one in site.fake.at("acme")] == ["192.0.2.7"]
