"""Tenants whose records stand at Route 53 (moto, as strict as Route 53) while it is away or throttles."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from controlplane import worker
from controlplane.store.turns import PostgresTurns
from tests.contract.ratelimit_peers import pool_of
from tests.contract.route53_peer import Route53Peer, refusal, route53_peer, running_moto
from tests.database import Database
from tests.engine.faults import Failure
from tests.engine.lab import Lab, open_lab
from tests.http_proxy import Fault

pytestmark = pytest.mark.anyio

ZONE = "apps.test"
THROTTLES = Fault(400, body=refusal("Throttling"), times=1_000_000)
IS_AWAY = Fault(503, times=1_000_000)


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with running_moto() as url:
        yield url


@dataclass
class Site:
    lab: Lab
    peer: Route53Peer

    def records(self) -> set[tuple[str, str]]:
        """Of tenants, the bystander's left out."""
        found = {(one["Name"].removesuffix(f".{ZONE}."), one["Type"]) for one in self.peer.world()}
        return {one for one in found if one[1] not in ("SOA", "NS") and "globex" not in one[0]}


@pytest.fixture
async def site(database: Database, moto: str, tmp_path: Path) -> AsyncIterator[Site]:
    """With the bystander globex, and a queue that lets nobody wait."""
    async with (
        route53_peer(moto, ZONE) as peer,
        open_lab(database, tmp_path) as lab,
        pool_of(database.control_url) as pool,
    ):
        turns = PostgresTurns(pool, name=peer.zone_id, per_s=1_000)
        lab.parts = replace(lab.parts, dns=peer.another(turns=turns))
        lab.steps = worker.open_steps(lab.parts)
        await lab.active("globex")
        before = [one for one in peer.world() if "globex" in one["Name"]]
        yield Site(lab, peer)
        assert [one for one in peer.world() if "globex" in one["Name"]] == before


@pytest.mark.parametrize("fault", [THROTTLES, IS_AWAY], ids=["throttles", "away"])
async def test_a_rollback_that_route_53_holds_up_is_parked_and_healed_without_an_operator(
    site: Site, fault: Fault
) -> None:
    lab = site.lab
    lab.steps = Failure("verify", "ensure").wrap(lab.steps)

    async def failpoint(place: str) -> None:
        if place == "operation:provision:before-unwind":
            site.peer.front.faults = [fault]

    lab.failpoint = failpoint
    operation = await lab.settle(await lab.create("acme"))
    assert operation.state == "parked"
    assert operation.error
    assert operation.error["step"] == "verify"
    parked = operation.error["parked"]
    assert (parked["code"], parked["step"]) == ("provider_unavailable", "dns")
    assert site.records() == {("acme", "A"), ("_cp-acme", "TXT")}

    reaper = worker.open_reaper(lab.parts)
    await reaper.sweep()
    assert (await lab.view(operation.id)).state == "unwinding", "resumed while it lasts"
    assert (await lab.settle(operation)).state == "parked"
    assert site.records() == {("acme", "A"), ("_cp-acme", "TXT")}

    site.peer.front.faults = []
    await lab.sql(
        "UPDATE public.operations SET run_at = run_at - interval '1 hour' WHERE id = :id",
        id=operation.id,
    )
    await reaper.sweep()
    assert (await lab.settle(operation)).state == "failed"
    assert site.records() == set()
