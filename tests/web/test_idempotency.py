"""Idempotency-Key: a request that is sent twice is done once."""

import asyncio

import httpx
import pytest
from sqlalchemy import text

from tests.web.calls import TENANTS, Site, fresh_subdomain, new_tenant

pytestmark = pytest.mark.anyio


async def test_a_repeated_request_is_answered_with_the_first_ones_operation(site: Site) -> None:
    body, headers = new_tenant(), {"idempotency-key": '"a \\"key\\" of mine"'}
    async with site.client() as client:
        first = await client.post(TENANTS, json=body, headers=headers)
        counted = await site.counts()
        second = await client.post(TENANTS, json=body, headers=headers)
    assert (first.status_code, second.status_code) == (202, 202)
    assert second.json() == first.json()
    assert second.headers["location"] == first.headers["location"]
    assert await site.counts() == counted


async def test_a_key_is_the_same_in_quotes_and_bare(client: httpx.AsyncClient) -> None:
    body, key = new_tenant(), fresh_subdomain()
    first = await client.post(TENANTS, json=body, headers={"idempotency-key": key})
    second = await client.post(TENANTS, json=body, headers={"idempotency-key": f'"{key}"'})
    assert second.json()["id"] == first.json()["id"]


async def test_a_key_used_for_another_request_is_refused(site: Site) -> None:
    headers = {"idempotency-key": fresh_subdomain()}
    async with site.client() as client:
        first = (await client.post(TENANTS, json=new_tenant(), headers=headers)).json()
        counted = await site.counts()
        other = await client.post(TENANTS, json=new_tenant(), headers=headers)
        elsewhere = await client.post(f"{first['links']['tenant']}/provision", headers=headers)
    for answer in (other, elsewhere):
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert await site.counts() == counted


async def test_two_callers_may_have_the_same_key(site: Site) -> None:
    headers = {"idempotency-key": fresh_subdomain()}
    for speaker in ("admin", "super_admin"):
        async with site.client(speaker) as client:
            answer = await client.post(TENANTS, json=new_tenant(), headers=headers)
            assert answer.status_code == 202


async def test_a_key_of_a_refused_request_is_free_again(client: httpx.AsyncClient) -> None:
    headers = {"idempotency-key": fresh_subdomain()}
    taken = new_tenant()
    await client.post(TENANTS, json=taken)
    refused = await client.post(TENANTS, json=taken, headers=headers)
    assert refused.json()["code"] == "subdomain_taken"
    assert (await client.post(TENANTS, json=new_tenant(), headers=headers)).status_code == 202


async def test_a_request_whose_first_is_in_flight_is_told_to_come_back(site: Site) -> None:
    async with site.client() as client, site.parts.owner.begin() as conn:
        query = text(
            "SELECT pg_advisory_xact_lock(hashtextextended(id || '/in-flight', 0))"
            " FROM public.global_users WHERE email = 'admin@example.test'"
        )
        await conn.execute(query)
        headers = {"idempotency-key": "in-flight"}
        answer = await client.post(TENANTS, json=new_tenant(), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_in_flight")
    assert answer.headers["retry-after"] == "1"


async def test_of_many_at_once_with_one_key_one_tenant_comes(site: Site) -> None:
    before, body = await site.counts(), new_tenant()
    headers = {"idempotency-key": fresh_subdomain()}
    async with site.client() as client:
        calls = (client.post(TENANTS, json=body, headers=headers) for _ in range(10))
        answers = await asyncio.gather(*calls)
    accepted = {a.json()["id"] for a in answers if a.status_code == 202}
    codes = {a.json()["code"] for a in answers if a.is_error}
    assert len(accepted) == 1
    assert codes <= {"idempotency_in_flight"}
    assert (await site.counts())["tenants"] - before["tenants"] == 1


async def test_an_expired_key_may_be_used_again(site: Site) -> None:
    headers = {"idempotency-key": "expired"}
    async with site.client() as client:
        first = await client.post(TENANTS, json=new_tenant(), headers=headers)
        expire = "UPDATE public.idempotency_keys SET expires_at = now() WHERE key = 'expired'"
        async with site.parts.owner.begin() as conn:
            await conn.execute(text(expire))
        second = await client.post(TENANTS, json=new_tenant(), headers=headers)
    assert second.status_code == 202
    assert second.json()["id"] != first.json()["id"]
