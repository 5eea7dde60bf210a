"""Making, listing, showing and deleting tenants."""

import asyncio
import json
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from tests.web.calls import (
    BASE,
    OPERATIONS,
    TENANTS,
    Site,
    fresh_subdomain,
    make_active,
    new_tenant,
)

pytestmark = pytest.mark.anyio


async def test_a_tenant_is_accepted_with_its_operation(client: httpx.AsyncClient) -> None:
    answer = await client.post(TENANTS, json=new_tenant(name="Ácme & Söhne"))
    body = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"{OPERATIONS}/{body['id']}"
    assert (body["kind"], body["state"], body["error"]) == ("provision", "pending", None)
    steps = [(step["name"], step["state"], step["attempt"]) for step in body["steps"]]
    names = ["schema", "admin", "dns", "verify", "activate"]
    assert steps == [(name, "pending", 0) for name in names]
    assert body["cancel_requested"] is False
    assert body["links"]["tenant"] == f"{TENANTS}/{body['tenant_id']}"
    assert (await client.get(answer.headers["location"])).json() == body


async def test_curls_own_content_type_is_read_as_json(client: httpx.AsyncClient) -> None:
    for content_type in ("application/x-www-form-urlencoded", "application/json; charset=utf-8"):
        body = json.dumps(new_tenant())
        headers = {"content-type": content_type}
        assert (await client.post(TENANTS, content=body, headers=headers)).status_code == 202
    bare = await client.post(TENANTS, content=json.dumps(new_tenant()))
    assert bare.status_code == 202


async def test_a_taken_subdomain_is_refused(client: httpx.AsyncClient) -> None:
    body = new_tenant()
    await client.post(TENANTS, json=body)
    again = await client.post(TENANTS, json=body | {"subdomain": body["subdomain"].upper()})
    assert (again.status_code, again.json()["code"]) == (409, "subdomain_taken")


async def test_of_twenty_that_race_for_a_subdomain_one_gets_it(site: Site) -> None:
    before, body = await site.counts(), new_tenant()
    async with site.client() as client:
        answers = await asyncio.gather(*(client.post(TENANTS, json=body) for _ in range(20)))
    codes = sorted((a.status_code, a.json().get("code", "")) for a in answers)
    assert codes == [(202, "")] + [(409, "subdomain_taken")] * 19
    after = await site.counts()
    assert after["tenants"] - before["tenants"] == 1
    assert after["operations"] - before["operations"] == 1


async def test_a_wait_that_suffices_is_answered_with_the_tenants_address(site: Site) -> None:
    async with site.client() as client, site.working():
        # Whatever other tests have asked for is done by then.
        await make_active(client, new_tenant())
        answer = await client.post(TENANTS, json=new_tenant(), headers={"prefer": "wait=30"})
        assert answer.status_code == 201
        assert answer.headers["preference-applied"] == "wait=30"
        assert answer.json()["state"] == "succeeded"
        tenant = (await client.get(answer.headers["location"])).json()
    assert tenant["state"] == "active"
    conditions = {c["type"]: c["holds"] for c in tenant["conditions"]}
    assert conditions["SchemaReady"]
    assert conditions["DnsReady"]
    assert [mail["template"] for mail in tenant["mails"]] == ["welcome"]
    assert tenant["operations"][0]["id"] == answer.json()["id"]


async def test_a_wait_that_does_not_suffice_is_answered_with_202(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post(TENANTS, json=new_tenant(), headers={"prefer": "wait=0"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "wait=0")


async def test_a_tenant_is_shown_with_its_version_as_etag(client: httpx.AsyncClient) -> None:
    accepted = (await client.post(TENANTS, json=new_tenant(metadata={"plan": [1, None]}))).json()
    answer = await client.get(accepted["links"]["tenant"])
    shown = answer.json()
    assert answer.headers["etag"] == f'"{shown["version"]}"'
    assert shown["metadata"] == {"plan": [1, None]}
    assert shown["url"] == f"https://{shown['subdomain']}.{BASE}"
    assert shown["schema_name"] == f"tenant_{shown['id'].replace('-', '')}"
    assert shown["state"] == "provisioning"


@pytest.mark.parametrize("name", ["0f" * 16, "acme", "0", "%00", "' OR 1=1"])
@pytest.mark.parametrize("path", [TENANTS, OPERATIONS])
async def test_an_id_that_nothing_has_is_not_found(
    client: httpx.AsyncClient, path: str, name: str
) -> None:
    answer = await client.get(f"{path}/{name}")
    assert answer.status_code == 404
    assert answer.json()["code"] in {"not_found", "tenant_not_found", "operation_not_found"}


async def test_pages_go_through_every_tenant_once(client: httpx.AsyncClient) -> None:
    mark = fresh_subdomain()
    made = []
    for _ in range(5):
        body = new_tenant(name=f"page {mark}")
        made.append((await client.post(TENANTS, json=body)).json()["tenant_id"])
    seen: list[str] = []
    parameters: dict[str, str | int] = {"limit": 2, "q": f"PAGE {mark}"}
    while True:
        page = (await client.get(TENANTS, params=parameters)).json()
        seen += [tenant["id"] for tenant in page["items"]]
        if page["next_cursor"] is None:
            break
        parameters["cursor"] = page["next_cursor"]
    assert seen == made[::-1]


async def test_filters_combine(client: httpx.AsyncClient) -> None:
    mark = fresh_subdomain()
    for tier in ("starter", "enterprise"):
        await client.post(TENANTS, json=new_tenant(name=mark, tier=tier))

    async def found(**filters: str) -> list[str]:
        items = (await client.get(TENANTS, params={"q": mark, **filters})).json()["items"]
        return [tenant["tier"] for tenant in items]

    assert sorted(await found()) == ["enterprise", "starter"]
    assert await found(tier="enterprise", state="provisioning") == ["enterprise"]
    assert await found(tier="enterprise", state="active") == []
    # A wildcard of LIKE is a letter like others.
    assert (await client.get(TENANTS, params={"q": "%_%"})).json()["items"] == []


async def test_a_tenant_is_found_by_its_whole_subdomain_among_others_that_contain_it(
    client: httpx.AsyncClient,
) -> None:
    mark = f"app{uuid4().hex[:8]}"
    for label in (mark, f"{mark}-two", f"my-{mark}"):
        assert (await client.post(TENANTS, json=new_tenant(subdomain=label))).status_code == 202

    found = (await client.get(TENANTS, params={"subdomain": mark})).json()["items"]

    assert [tenant["subdomain"] for tenant in found] == [mark]
    assert (await client.get(TENANTS, params={"subdomain": "\0"})).status_code == 422


async def test_deleting_answers_with_the_same_operation_again(site: Site) -> None:
    async with site.client() as client, site.working():
        body = new_tenant()
        address = (await make_active(client, body))["links"]["tenant"]
        first = await client.delete(address)
        second = await client.delete(address)
        assert (first.status_code, second.status_code) == (202, 202)
        assert first.json()["kind"] == "deprovision"
        assert second.json()["id"] == first.json()["id"]
        await client.get(first.json()["links"]["events"])
        third = await client.delete(address)
        assert (third.json()["id"], third.json()["state"]) == (first.json()["id"], "succeeded")
        assert (await client.get(address)).json()["state"] == "deleted"
        hidden = (await client.get(TENANTS, params={"q": body["subdomain"]})).json()["items"]
        shown = await client.get(TENANTS, params={"q": body["subdomain"], "include_deleted": True})
    assert hidden == []
    assert [tenant["state"] for tenant in shown.json()["items"]] == ["deleted"]


async def test_a_tenant_with_an_operation_in_progress_is_not_deleted(
    client: httpx.AsyncClient,
) -> None:
    accepted = (await client.post(TENANTS, json=new_tenant())).json()
    answer = await client.delete(accepted["links"]["tenant"])
    assert (answer.status_code, answer.json()["code"]) == (409, "provisioning_in_progress")


async def test_a_failed_tenant_is_provisioned_again_by_one_of_two(site: Site) -> None:
    async with site.client() as client:
        accepted = (await client.post(TENANTS, json=new_tenant())).json()
        address = f"{accepted['links']['tenant']}/provision"
        assert (await client.post(address)).json()["code"] == "provisioning_in_progress"
        await client.post(accepted["links"]["cancel"])
        async with site.working():
            await client.get(accepted["links"]["events"])
        assert (await client.get(address)).json()["state"] == "cancelled"
        answers = await asyncio.gather(client.post(address), client.post(address))
        codes = sorted((a.status_code, a.json().get("code")) for a in answers if a.is_error)
        assert codes == [(409, "provisioning_in_progress")]
        assert sorted(a.status_code for a in answers) == [202, 409]
        assert (await client.get(address)).json()["state"] == "pending"


async def test_what_was_asked_is_on_record_with_who_and_from_where(site: Site) -> None:
    async with site.client() as client:
        headers = {"x-request-id": "audit-1", "user-agent": "curl/8\x7f"}
        accepted = (await client.post(TENANTS, json=new_tenant(), headers=headers)).json()
    query = text("SELECT * FROM public.audit_log WHERE tenant_id = :id")
    async with site.parts.owner.connect() as conn:
        row = (await conn.execute(query, {"id": accepted["tenant_id"]})).one()
    assert (row.action, row.actor_kind, row.outcome) == ("tenant.create", "admin", "ok")
    assert (row.request_id, row.ip, row.agent) == ("audit-1", "127.0.0.1", "curl/8")
