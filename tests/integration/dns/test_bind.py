"""Tenants whose records stand on a real name server, from the first operation to the last."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from controlplane import worker
from controlplane.domain.naming import Subdomain
from controlplane.provisioning import lifecycle
from tests.database import Database
from tests.engine.faults import Failure
from tests.engine.lab import ACTOR, Lab, open_lab
from tests.engine.looking import listed
from tests.name_servers import KEY_NAME, SECRET, NameServer, program, running_bind
from tests.proxy import Proxy

pytestmark = [pytest.mark.anyio, pytest.mark.requires("named", "dig")]

ZONE = "apps.test"
STANDING = {"@", "ns1", "globex", "_cp-globex"}
GRACE = timedelta(days=30)


@pytest.fixture(scope="module")
def bind() -> Iterator[NameServer]:
    with running_bind() as server:
        yield server


@dataclass
class Site:
    lab: Lab
    bind: NameServer
    proxy: Proxy

    def names(self) -> set[str]:
        """All names in the zone that are not always there."""
        return {line.split()[0] for line in self.bind.records(ZONE)} - STANDING

    def dig(self, subdomain: str) -> str:
        """What `dig` prints, as an operator would ask."""
        asked = [f"@127.0.0.1 -p {self.bind.port} +short", f"{subdomain}.{ZONE}"]
        command = [program("dig"), *" ".join(asked).split()]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  a literal command
        return ran.stdout.strip()


async def test_behind_a_wildcard_tenants_come_and_go_without_records_and_nothing_is_missing(
    database: Database, bind: NameServer, tmp_path: Path
) -> None:
    bind.wipe(ZONE)
    bind.place(ZONE, "*", "A", "192.0.2.7")
    bind.place(ZONE, "elsewhere", "A", "192.0.2.66")
    before = bind.records(ZONE)
    more = {
        "CONTROLPLANE_DNS": "wildcard",
        "CONTROLPLANE_DNS_SERVER": f"127.0.0.1:{bind.port}",
        "CONTROLPLANE_MAIL": "memory",
    }
    async with open_lab(database, tmp_path, real_files=True, more=more) as lab:
        tenants = [await lab.active(name) for name in ("acme", "globex")]
        refused = await lab.settle(await lab.create("elsewhere"))
        assert refused.error
        assert refused.error["code"] == "dns_conflict"
        reaper = worker.open_reaper(lab.parts)
        assert [await reaper.sweep(), await reaper.sweep()] == [0, 0]
        assert await listed(lab) == set()
        assert (await lab.settle(await lab.delete(tenants[0]))).state == "succeeded"
    assert bind.records(ZONE) == before


@pytest.fixture
async def site(database: Database, bind: NameServer, tmp_path: Path) -> AsyncIterator[Site]:
    """With the bystander globex, whose record must not change."""
    bind.wipe(ZONE)
    async with Proxy("127.0.0.1", bind.port) as proxy:
        more = {
            "CONTROLPLANE_DNS": "rfc2136",
            "CONTROLPLANE_DNS_SERVER": f"127.0.0.1:{proxy.port}",
            "CONTROLPLANE_DNS_KEY_NAME": KEY_NAME,
            "CONTROLPLANE_DNS_KEY_SECRET": SECRET,
            "CONTROLPLANE_MAIL": "memory",
        }
        async with open_lab(database, tmp_path, real_files=True, more=more) as lab:
            await lab.active("globex")
            before = [line for line in bind.records(ZONE) if "globex" in line]
            yield Site(lab, bind, proxy)
            assert [line for line in bind.records(ZONE) if "globex" in line] == before


async def test_a_tenant_has_exactly_one_record_through_its_life_and_none_after_it(
    site: Site,
) -> None:
    lab = site.lab
    tenant_id = await lab.active("acme")
    assert site.dig("acme") == "192.0.2.7"
    assert site.names() == {"acme", "_cp-acme"}

    async with lab.parts.control.begin() as conn:
        renamed = await lifecycle.rename(
            conn, tenant_id, subdomain=Subdomain("acme-new"), actor=ACTOR, deadline_s=300
        )
    assert (await lab.settle(renamed)).state == "succeeded"
    assert (site.dig("acme"), site.dig("acme-new")) == ("", "192.0.2.7")
    assert site.names() == {"acme-new", "_cp-acme-new"}

    await lab.settle(await lab.delete(tenant_id))
    assert site.names() == set()
    async with lab.parts.control.begin() as conn:
        purged = await lifecycle.purge(
            conn,
            tenant_id,
            confirm="acme-new",
            grace=GRACE,
            skip_grace=True,
            actor=ACTOR,
            deadline_s=300,
        )
    assert (await lab.settle(purged)).state == "succeeded"
    assert site.dig("acme-new") == ""
    assert site.names() == set()


async def test_a_rollback_that_a_dead_server_holds_up_is_healed_without_an_operator(
    site: Site,
) -> None:
    lab = site.lab
    lab.steps = Failure("verify", "ensure").wrap(lab.steps)

    async def failpoint(place: str) -> None:
        if place == "operation:provision:before-unwind":
            await site.proxy.refuse()

    lab.failpoint = failpoint
    operation = await lab.settle(await lab.create("acme"))
    assert operation.state == "parked"
    assert site.names() == {"acme", "_cp-acme"}

    await site.proxy.accept()
    reaper = worker.open_reaper(lab.parts)
    await reaper.sweep()
    assert (await lab.settle(operation)).state == "failed"
    assert site.names() == set()


async def test_a_record_that_is_gone_is_found_missing_and_made_again(site: Site) -> None:
    lab = site.lab
    await lab.active("acme")
    for name in ("acme", "_cp-acme"):
        site.bind.remove(ZONE, name)
    reaper = worker.open_reaper(lab.parts)
    assert [await reaper.sweep(), await reaper.sweep()] == [0, 1]
    (row,) = await lab.sql("SELECT id FROM public.operations WHERE finished_at IS NULL")
    assert (await lab.settle(await lab.view(row.id))).state == "succeeded"
    assert site.dig("acme") == "192.0.2.7"
