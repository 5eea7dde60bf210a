"""A change of subdomain and a quarantine, through the door that users take."""

import asyncio
import re
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from tests.web.calls import BASE, OPERATIONS, TENANTS, Site, fresh_subdomain, new_tenant
from tests.web.lives import Held, bring, held

pytestmark = pytest.mark.anyio

HOLDS = "/api/admin/subdomain-holds"


async def served(tenant: Held, subdomain: str) -> tuple[int, str | None]:
    """What the subdomain's host answers: status, and the tenant's name or the code."""
    headers = {"host": f"{subdomain}.{BASE}", "authorization": ""}
    answer = await tenant.client.get("/api/tenant/info", headers=headers)
    told = answer.json()
    return answer.status_code, told.get("subdomain") or told.get("code")


async def seen_served(tenant: Held, subdomain: str) -> None:
    """Within the seconds for which a process may believe what it has answered before."""
    async with asyncio.timeout(30):
        while (await served(tenant, subdomain))[0] != 200:
            pass


async def followed(tenant: Held, accepted: object) -> object:
    await tenant.client.get(accepted.json()["links"]["events"])  # type: ignore[attr-defined]  # an answer
    return (await tenant.client.get(accepted.headers["location"])).json()["state"]  # type: ignore[attr-defined]  # an answer


async def test_a_tenant_is_renamed_and_back_and_one_of_its_names_is_served(site: Site) -> None:
    async with held(site) as tenant, site.working():
        old, new = tenant.subdomain, fresh_subdomain()
        there = await tenant.client.put(
            f"{tenant.address}/subdomain", json={"subdomain": new.upper()}
        )
        assert (there.status_code, there.json()["kind"]) == (202, "rename")
        assert there.headers["location"] == f"{OPERATIONS}/{there.json()['id']}"
        assert await followed(tenant, there) == "succeeded"
        shown = await tenant.shown()
        assert (shown["subdomain"], shown["url"]) == (new, f"https://{new}.{BASE}")
        assert (await served(tenant, new))[0] == 200
        assert await served(tenant, old) == (404, "tenant_not_found")
        records = site.parts.dns.records  # type: ignore[attr-defined]  # in memory
        assert (new in records, old in records) == (True, False)

        refused = await tenant.client.post(TENANTS, json=new_tenant(subdomain=old))
        assert (refused.status_code, refused.json()["code"]) == (409, "subdomain_quarantined")
        (hold,) = (await tenant.client.get(f"{HOLDS}/{old}")).json()["holds"]
        assert (hold["why"], tenant.address.endswith(hold["tenant_id"])) == ("released", True)
        told = re.search(r"held until (\S+Z)", refused.json()["detail"])
        assert told is not None
        late = datetime.fromisoformat(told[1]) - datetime.fromisoformat(hold["until"])
        # Whole seconds, rounded up.
        assert timedelta() <= late <= timedelta(seconds=1)

        back = await tenant.client.put(f"{tenant.address}/subdomain", json={"subdomain": old})
        assert await followed(tenant, back) == "succeeded"
        await seen_served(tenant, old)
        assert (await tenant.client.get(f"{HOLDS}/{old}")).json() == {"subdomain": old, "holds": []}


async def test_a_rename_is_accepted_once_with_a_key_and_reserves_its_name(site: Site) -> None:
    async with held(site) as tenant:
        body, headers = {"subdomain": fresh_subdomain()}, {"idempotency-key": str(uuid4())}
        address = f"{tenant.address}/subdomain"
        first = await tenant.client.put(address, json=body, headers=headers)
        second = await tenant.client.put(address, json=body, headers=headers)
        assert (second.status_code, second.json()) == (202, first.json())
        reused = await tenant.client.put(address, json={"subdomain": "other"}, headers=headers)
        assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")
        anew = await tenant.client.put(address, json=body)
        assert (anew.status_code, anew.json()["code"]) == (409, "provisioning_in_progress")
        taken = await tenant.client.post(TENANTS, json=new_tenant(**body))
        assert (taken.status_code, taken.json()["code"]) == (409, "subdomain_taken")
        early = await tenant.client.delete(f"{HOLDS}/{body['subdomain']}")
        assert (early.status_code, early.json()["code"]) == (409, "invalid_state")


@pytest.mark.parametrize(
    ("subdomain", "status", "code"),
    [
        ("www", 422, "subdomain_reserved"),
        ("a", 422, "subdomain_invalid"),
        (None, 422, "validation_failed"),
        ("its own", 422, "validation_failed"),
        ("a neighbour's", 409, "subdomain_taken"),
    ],
)
async def test_a_rename_that_cannot_be_changes_nothing(
    site: Site, subdomain: str | None, status: int, code: str
) -> None:
    async with held(site) as tenant, held(site) as neighbour:
        named = {"its own": tenant.subdomain, "a neighbour's": neighbour.subdomain}
        body = {} if subdomain is None else {"subdomain": named.get(subdomain, subdomain)}
        counted = await site.counts()
        answer = await tenant.client.put(f"{tenant.address}/subdomain", json=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert [fault["pointer"] for fault in answer.json().get("errors", ())] in (
            ["/subdomain"],
            [],
        )
        assert await site.counts() == counted


async def test_a_purged_tenants_name_is_quarantined_until_a_super_admin_gives_it_free(
    site: Site,
) -> None:
    async with held(site) as tenant:
        name = tenant.subdomain
        await bring(tenant, "deleted")
        taken = await tenant.client.post(TENANTS, json=new_tenant(subdomain=name))
        assert (taken.status_code, taken.json()["code"]) == (409, "subdomain_taken")
        async with site.working():
            await tenant.do("purge")
        refused = await tenant.client.post(TENANTS, json=new_tenant(subdomain=name))
        assert (refused.status_code, refused.json()["code"]) == (409, "subdomain_quarantined")
        async with site.client("admin") as admin:
            assert (await admin.delete(f"{HOLDS}/{name}")).status_code == 403
        ended = await tenant.client.delete(f"{HOLDS}/{name}")
        assert (ended.status_code, [h["why"] for h in ended.json()["holds"]]) == (200, ["released"])
        again = await tenant.client.delete(f"{HOLDS}/{name}")
        assert (again.status_code, again.json()["holds"]) == (200, [])
        free = await tenant.client.post(TENANTS, json=new_tenant(subdomain=name))
        assert free.status_code == 202


@pytest.mark.parametrize("name", ["A", "acme%00", "acme%0a", "x" * 64, "a.b.c"])
async def test_a_name_that_cannot_be_is_held_by_nobody(site: Site, name: str) -> None:
    async with site.client("super_admin") as client:
        for method in ("GET", "DELETE"):
            answer = await client.request(method, f"{HOLDS}/{name}")
            assert (answer.status_code, answer.json().get("holds")) in ((422, None), (200, []))
