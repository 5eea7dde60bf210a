"""Bad input: each is answered with a problem that names the field, and changes nothing."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from tests.database import Server, fresh_database
from tests.security.bad_input import FIELDS, NO_FLAGS, NO_TEXTS, deep
from tests.web.calls import OPERATIONS, TENANTS, Site, new_tenant, open_site

pytestmark = pytest.mark.anyio


OWN_CODES = {"subdomain_invalid", "subdomain_reserved"}


@pytest.fixture(scope="module")
async def site(server: Server) -> AsyncIterator[Site]:
    with fresh_database(server) as database:
        async with open_site(database) as opened:
            yield opened


async def test_a_field_that_does_not_fit_is_named_and_changes_nothing(site: Site) -> None:
    before = await site.counts()
    async with site.client() as client:
        for change, pointer, code in FIELDS:
            answer = await client.post(TENANTS, json=new_tenant(**change))
            body = answer.json()
            assert answer.status_code == 422, change
            assert answer.headers["content-type"] == "application/problem+json"
            assert body["code"] == (code if code in OWN_CODES else "validation_failed"), change
            named = [(fault["pointer"], fault["code"]) for fault in body["errors"]]
            assert named == [(pointer, code)], change
    assert await site.counts() == before


@pytest.mark.parametrize("field", ["name", "subdomain", "admin_email"])
async def test_a_field_that_is_missing_is_named(site: Site, field: str) -> None:
    body = new_tenant()
    del body[field]
    async with site.client() as client:
        answer = await client.post(TENANTS, json=body)
    faults = [(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]]
    assert (answer.status_code, faults) == (422, [(f"/{field}", "missing")])


async def test_every_fault_is_named_at_once(site: Site) -> None:
    body = {"name": "", "subdomain": "www", "admin_email": "x", "metadata": deep(9)}
    async with site.client() as client:
        problem = (await client.post(TENANTS, json=body)).json()
    assert problem["code"] == "validation_failed"
    assert {fault["pointer"] for fault in problem["errors"]} == {
        "/name",
        "/subdomain",
        "/admin_email",
        "/metadata",
    }


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({}, "/confirm", "missing"),
        ({"skip_grace": True}, "/confirm", "missing"),
        *(({"confirm": value}, "/confirm", "invalid") for value in NO_TEXTS),
        *(
            ({"confirm": "acme", "skip_grace": value}, "/skip_grace", "invalid")
            for value in NO_FLAGS
        ),
        ({"confirm": "acme", "skipgrace": True}, "/skipgrace", "unknown_field"),
        ({"confirm": "acme", "tenant_id": "x"}, "/tenant_id", "unknown_field"),
    ],
)
async def test_a_purge_that_does_not_fit_is_refused_before_the_tenant_is_looked_at(
    site: Site, body: dict[str, Any], pointer: str, code: str
) -> None:
    before = await site.counts()
    async with site.client("super_admin") as client:
        answer = await client.post(f"{TENANTS}/{uuid4()}/purge", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    named = [(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]]
    assert named == [(pointer, code)]
    assert await site.counts() == before


@pytest.mark.parametrize("content", [b"", b"{", b"confirm=acme", b"\xff"])
async def test_a_purge_whose_body_is_no_json_destroys_nothing(site: Site, content: bytes) -> None:
    async with site.client("super_admin") as client:
        answer = await client.post(f"{TENANTS}/{uuid4()}/purge", content=content)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    "verb", ["provision", "suspend", "resume", "restore", "purge", "welcome-email"]
)
@pytest.mark.parametrize("name", ["acme", "0", "%00", "' OR 1=1", "..", "*"])
async def test_a_change_of_what_is_no_id_is_not_found(site: Site, verb: str, name: str) -> None:
    before = await site.counts()
    async with site.client("super_admin") as client:
        answer = await client.post(f"{TENANTS}/{name}/{verb}", json={"confirm": name})
    assert (answer.status_code, answer.json()["code"]) in {
        (404, "not_found"),
        (405, "method_not_allowed"),
    }
    assert await site.counts() == before


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b'{"name": "Acme"', b"name=Acme", b"nil", b"{'name': 1}", b"\xff\xfe", b"\0"),
        *(b'{"name": "\xff"}', b'{"name": "\\ud800"}', b"[" * 60_000, b'{"a":' * 10_000, b"{}{}"),
        b'{"metadata": {"a": 1e999}}',
    ],
)
async def test_a_body_that_is_no_json_cannot_be_read(site: Site, content: bytes) -> None:
    before = await site.counts()
    async with site.client() as client:
        answer = await client.post(TENANTS, content=content)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert await site.counts() == before


@pytest.mark.parametrize("content", [b"[]", b"1", b'"x"', b"null", b"true"])
async def test_a_body_that_is_no_object_does_not_fit(site: Site, content: bytes) -> None:
    async with site.client() as client:
        answer = await client.post(TENANTS, content=content)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [""]


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/xml", "multipart/form-data; boundary=x", "application/jsonx", "x"],
)
async def test_another_content_type_is_refused(site: Site, content_type: str) -> None:
    before = await site.counts()
    headers = {"content-type": content_type}
    async with site.client() as client:
        answer = await client.post(TENANTS, content=json.dumps(new_tenant()), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    assert await site.counts() == before


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_that_is_too_large_is_refused(site: Site, *, announced: bool) -> None:
    before = await site.counts()
    whole = json.dumps(new_tenant(metadata={"a": "x" * 100_000})).encode()

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(whole), 10_000):
            yield whole[start : start + 10_000]

    async with site.client() as client:
        answer = await client.post(TENANTS, content=whole if announced else chunks())
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert await site.counts() == before


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        (f"{TENANTS}?limit=0", "/query/limit"),
        (f"{TENANTS}?limit=101", "/query/limit"),
        (f"{TENANTS}?limit=x", "/query/limit"),
        (f"{TENANTS}?limit=99999999999999999999999", "/query/limit"),
        (f"{TENANTS}?state=gone", "/query/state"),
        (f"{TENANTS}?state=", "/query/state"),
        (f"{TENANTS}?tier=gold", "/query/tier"),
        (f"{TENANTS}?q=%00", "/query/q"),
        (f"{TENANTS}?q=", "/query/q"),
        (f"{TENANTS}?include_deleted=perhaps", "/query/include_deleted"),
        (f"{TENANTS}?cursor=", "/query/cursor"),
        (f"{TENANTS}?cursor=x", "/query/cursor"),
        (f"{TENANTS}?cursor=%C3%A4", "/query/cursor"),
        (f"{TENANTS}?cursor={'0' * 46}%0A", "/query/cursor"),
        (f"{TENANTS}?stat=active", "/query/stat"),
        (f"{TENANTS}?tier=null", "/query/tier"),
        (f"{TENANTS}?tier=starter&tier=enterprise", "/query/tier"),
        (f"{OPERATIONS}?tenant_id=NULL", "/query/tenant_id"),
        (f"{OPERATIONS}?tenant_id=x", "/query/tenant_id"),
        (f"{OPERATIONS}?state=active", "/query/state"),
        (f"{OPERATIONS}?page=2", "/query/page"),
    ],
)
async def test_a_parameter_that_does_not_fit_is_named(site: Site, path: str, pointer: str) -> None:
    async with site.client() as client:
        answer = await client.get(path)
    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, '"x', '"a\\b"', '""', "a\tb", "a\0b"])
async def test_an_idempotency_key_that_is_none_is_named(site: Site, key: str) -> None:
    before = await site.counts()
    async with site.client() as client:
        headers = {"idempotency-key": key}
        answer = await client.post(TENANTS, json=new_tenant(), headers=headers)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/header/Idempotency-Key"
    assert await site.counts() == before


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", TENANTS, {"GET", "POST", "OPTIONS"}),
        ("PATCH", f"{TENANTS}/00000000-0000-0000-0000-000000000000", {"GET", "DELETE", "OPTIONS"}),
        ("DELETE", OPERATIONS, {"GET", "OPTIONS"}),
        ("POST", "/health/live", {"GET", "OPTIONS"}),
    ],
)
async def test_another_method_is_told_which_ones_there_are(
    site: Site, method: str, path: str, allow: set[str]
) -> None:
    async with site.client() as client:
        answer = await client.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) == allow


@pytest.mark.parametrize("path", ["/", "/nope", "/api", "/api/admin", "/schema", "/%00", "/api//x"])
async def test_a_path_that_leads_nowhere_is_not_found(site: Site, path: str) -> None:
    async with site.client() as client:
        answer = await client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"name": "Åcme 👩‍👩‍👧 株式会社"}, "Åcme 👩‍👩‍👧 株式会社"),
        ({"name": "x" * 200}, "x" * 200),
        ({"name": "'; DROP TABLE tenants; --"}, "'; DROP TABLE tenants; --"),
        ({"name": "%s {0} $1 \\"}, "%s {0} $1 \\"),
    ],
)
async def test_what_only_looks_bad_is_kept_as_it_is(
    site: Site, change: dict[str, str], shown: str
) -> None:
    async with site.client() as client:
        accepted = (await client.post(TENANTS, json=new_tenant(**change))).json()
        tenant = (await client.get(accepted["links"]["tenant"])).json()
    assert tenant["name"] == shown


@pytest.mark.parametrize("field", ["tier", "admin_name"])
async def test_null_is_like_leaving_a_field_out(site: Site, field: str) -> None:
    async with site.client() as client:
        accepted = [
            (await client.post(TENANTS, json=new_tenant(**change))).json()
            for change in ({field: None}, {})
        ]
        null, out = [(await client.get(one["links"]["tenant"])).json() for one in accepted]
    assert null[field] == out[field]


@pytest.mark.parametrize(
    "address",
    ["ada@acme.test", "a.b+c@x.co", "o'hara@acme.test", "ada@localhost", "A@B.TEST", "a@1.example"],
)
async def test_a_sound_address_is_taken(site: Site, address: str) -> None:
    async with site.client() as client:
        answer = await client.post(TENANTS, json=new_tenant(admin_email=address))
    assert answer.status_code == 202


async def test_metadata_comes_back_as_it_was_sent(site: Site) -> None:
    metadata = {"a": {"b": [1, 2.5, -1, 2**70, None, True, "ü"]}, "": "", "x" * 300: []}
    async with site.client() as client:
        accepted = (await client.post(TENANTS, json=new_tenant(metadata=metadata))).json()
        tenant = (await client.get(accepted["links"]["tenant"])).json()
    assert tenant["metadata"] == metadata
