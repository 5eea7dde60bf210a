"""What does not fit together, shown as a worker saw it last and repaired by operations."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from controlplane import worker
from controlplane.domain.dns import record_for
from controlplane.domain.naming import Mark, Subdomain
from controlplane.store import structure_looks
from tests.database import Database
from tests.web.calls import OPERATIONS, TENANTS, Site, new_tenant, open_site

pytestmark = pytest.mark.anyio

FINDINGS = "/api/admin/findings"
REPAIR = f"{FINDINGS}/repair"
DRIFT = "/api/admin/drift"


async def orphan(site: Site, name: str) -> UUID:
    """A record with our mark, of a tenant that never was."""
    tenant_id = uuid4()
    mark = Mark(site.parts.installation, tenant_id, uuid4())
    await site.parts.dns.ensure(record_for(Subdomain(name), "192.0.2.1"), mark)
    return tenant_id


async def look(site: Site) -> None:
    """As a worker does, for the first time: it repairs nothing."""
    await worker.open_reaper(site.parts).sweep()


@asynccontextmanager
async def opened(database: Database) -> AsyncIterator[tuple[Site, httpx.AsyncClient]]:
    async with open_site(database) as site, site.client("super_admin") as client:
        yield site, client


async def test_before_anybody_looked_nothing_is_told_and_nothing_repaired(
    database: Database,
) -> None:
    async with opened(database) as (_, client):
        listed = await client.get(FINDINGS)
        repaired = await client.post(REPAIR)
    assert listed.json() == {
        "looked_at": None,
        "age_seconds": None,
        "items": [],
        "next_cursor": None,
    }
    assert (repaired.status_code, repaired.json()["code"]) == (409, "invalid_state")


async def test_a_look_is_shown_page_by_page_with_its_age_and_remedies(database: Database) -> None:
    async with opened(database) as (site, client):
        owners = {name: await orphan(site, name) for name in ("acme", "globex", "hooli")}
        await look(site)
        first = (await client.get(f"{FINDINGS}?limit=2")).json()
        second = (await client.get(f"{FINDINGS}?limit=2&cursor={first['next_cursor']}")).json()
        of_kind = (await client.get(f"{FINDINGS}?kind=record_without_tenant")).json()
        of_other = (await client.get(f"{FINDINGS}?kind=record_missing")).json()
        unknown = await client.get(f"{FINDINGS}?kind=nothing")
    items = [*first["items"], *second["items"]]
    assert {item["subject"]: item for item in items} == {
        name: {
            "kind": "record_without_tenant",
            "subject": name,
            "tenant_id": str(owner),
            "detail": "there is no such tenant",
            "remedy": "A repair removes it.",
            "first_seen_at": first["looked_at"],
        }
        for name, owner in owners.items()
    }
    assert (len(first["items"]), second["next_cursor"]) == (2, None)
    assert first["age_seconds"] >= 0
    assert (len(of_kind["items"]), of_other["items"]) == (3, [])
    assert unknown.status_code == 422


async def test_a_repair_begins_operations_that_a_worker_carries_out(database: Database) -> None:
    async with opened(database) as (site, client):
        owner = await orphan(site, "acme")
        kept = (await client.post(TENANTS, json=new_tenant())).json()
        await look(site)
        before = await site.counts()
        answer = await client.post(REPAIR, headers={"x-request-id": "mine"})
        zone = set(site.parts.dns.records)  # type: ignore[attr-defined]  # in memory
        (begun,) = answer.json()["operations"]
        again = await client.post(REPAIR)
        async with site.working():
            await client.get(f"{OPERATIONS}/{begun}/events")
            await client.get(kept["links"]["events"])
        operation = (await client.get(f"{OPERATIONS}/{begun}")).json()
        late = await client.post(REPAIR)
        async with site.parts.owner.connect() as conn:
            audited = (
                await conn.execute(
                    text(
                        "SELECT action, actor IS NOT NULL AS by_admin, after FROM public.audit_log"
                        " WHERE request_id = 'mine' ORDER BY action"
                    )
                )
            ).all()
    assert (answer.status_code, zone) == (202, {"acme"}), "nothing is done by the request itself"
    assert before["operations"] == 1
    assert (operation["kind"], operation["state"]) == ("clean", "succeeded")
    assert operation["tenant_id"] == str(owner)
    assert "acme" not in site.parts.dns.records  # type: ignore[attr-defined]  # in memory
    assert again.json()["operations"] == late.json()["operations"] == []
    assert [(row.action, row.by_admin) for row in audited] == [
        ("findings.repair", True),
        ("tenant.clean", True),
    ]
    assert audited[0].after == {"operations": [begun]}


async def test_two_repairs_at_once_begin_each_operation_once(database: Database) -> None:
    async with opened(database) as (site, client):
        for name in ("acme", "globex", "hooli"):
            await orphan(site, name)
        await look(site)
        answers = await asyncio.gather(*(client.post(REPAIR) for _ in range(4)))
        counts = await site.counts()
    assert {answer.status_code for answer in answers} == {202}
    assert sum(len(answer.json()["operations"]) for answer in answers) == 3
    assert counts["operations"] == 3


@pytest.mark.parametrize(
    ("speaker", "listed", "repaired"),
    [(None, 401, 401), ("support", 403, 403), ("admin", 403, 403), ("reader", 403, 403)],
)
async def test_only_a_super_admin_sees_findings_and_repairs(
    site: Site, speaker: str | None, listed: int, repaired: int
) -> None:
    before = await site.counts()
    async with site.client(speaker) as client:
        assert (await client.get(FINDINGS)).status_code == listed
        assert (await client.post(REPAIR)).status_code == repaired
    assert await site.counts() == before


async def test_schemas_that_differ_are_shown_as_a_worker_saw_them_page_by_page(
    database: Database,
) -> None:
    difference = {"kind": "table", "on": "", "name": "x", "expected": None, "found": "plain"}
    async with opened(database) as (site, client):
        nothing = (await client.get(DRIFT)).json()
        made = [(await client.post(TENANTS, json=new_tenant())).json() for _ in range(3)]
        differ = sorted(one["tenant_id"] for one in made[:2])
        found: dict[UUID, Any] = {UUID(one["tenant_id"]): ([difference], False) for one in made[:2]}
        found[UUID(made[2]["tenant_id"])] = ([], True)
        async with site.parts.owner.begin() as conn:
            claimed = await structure_looks.claim(conn, every_s=60)
            assert claimed is not None
            counts: dict[str, Any] = {
                "revision": "app_0001",
                "compared": 2,
                "behind": 1,
                "drifted": 2,
            }
            await structure_looks.keep(conn, claimed, **counts, found=found)
        first = (await client.get(DRIFT, params={"limit": 1})).json()
        rest = (await client.get(DRIFT, params={"after": first["next_after"]})).json()
    assert (nothing["looked_at"], nothing["compared"], nothing["items"]) == (None, 0, [])
    assert {name: first[name] for name in counts} == counts
    assert first["age_seconds"] >= 0
    assert [one["tenant_id"] for one in first["items"] + rest["items"]] == differ
    assert rest["items"][0]["differences"] == [difference]
    assert rest["next_after"] is None
