"""Tenants' own domains over the API, and what a worker makes of them by a real name server."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, LiteralString

import httpx
import psycopg
import pytest

from controlplane import worker
from tests.database import Server, fresh_database
from tests.name_servers import BIND_KEY, BIND_ZONE, NameServer, running_bind
from tests.web.calls import BASE, TENANTS, Site, open_site
from tests.web.members import make_tenant

pytestmark = [pytest.mark.anyio, pytest.mark.requires("named")]

Json = dict[str, Any]
ZONE = "acme.example"


@pytest.fixture(scope="module")
def bind() -> Iterator[NameServer]:
    with running_bind(BIND_KEY + BIND_ZONE.replace("{zone}", ZONE), zones=[ZONE]) as server:
        yield server


@pytest.fixture(scope="module")
async def site(server: Server, bind: NameServer) -> AsyncIterator[Site]:
    with fresh_database(server) as database:
        async with open_site(
            database,
            CONTROLPLANE_DOMAIN_NAMESERVERS=f"127.0.0.1:{bind.port}",
            # A busy machine's name server may take its time.
            CONTROLPLANE_WORKER_CALL_S="20",
            CONTROLPLANE_DOMAINS_REFUSED="api.example.org",
            CONTROLPLANE_DOMAINS_PER_TENANT="3",
        ) as opened:
            yield opened


@pytest.fixture(scope="module")
async def two(site: Site) -> list[str]:
    """The addresses of the domains of two active tenants, which the tests here share."""
    async with site.client() as client, site.working():
        made = [await make_tenant(client) for _ in range(2)]
    return [f"{TENANTS}/{tenant['id']}/domains" for tenant in made]


@pytest.fixture(autouse=True)
async def nothing_left(site: Site) -> AsyncIterator[None]:
    yield
    execute(site, "DELETE FROM public.tenant_domains")


def execute(site: Site, statement: LiteralString) -> None:
    with psycopg.connect(site.database.owner_url) as conn:
        conn.execute(statement)


async def add(client: httpx.AsyncClient, address: str, host: str, **more: Any) -> Json:
    answer = await client.post(address, json={"host": host, **more})
    assert answer.status_code == 201, answer.text
    found: Json = answer.json()
    assert answer.headers["location"] == found["links"]["self"] == f"{address}/{found['host']}"
    return found


async def test_a_domain_is_added_with_the_records_that_it_needs(
    client: httpx.AsyncClient, two: list[str]
) -> None:
    mine = await add(client, two[0], "WWW.Acme.Example.")
    tenant = (await client.get(mine["links"]["tenant"])).json()
    proof, target, instead = mine["records"]
    name = "_controlplane-challenge.www.acme.example"
    assert (proof["type"], proof["name"], proof["purpose"]) == ("TXT", name, "proof")
    assert proof["value"].startswith("controlplane-verify=")
    assert list(target.values()) == [
        *("target", "CNAME", "www.acme.example", f"{tenant['subdomain']}.{BASE}.")
    ]
    assert list(instead.values()) == ["target_without_cname", "A", "www.acme.example", "192.0.2.1"]
    assert (mine["state"], mine["points_here"], mine["problem"]) == ("pending", None, None)
    assert tenant["domains"] == [mine]
    again = await client.post(two[0], json={"host": "www.acme.example", "redirects": True})
    assert (again.status_code, again.json()) == (200, mine)
    # Another tenant may try, and has to make another record.
    theirs = await add(client, two[1], "www.acme.example")
    assert theirs["records"][0]["value"] != proof["value"]
    assert (await client.get(two[0])).json() == {"items": [mine]}
    assert (await client.get(f"{two[0]}/www.acme.example")).json() == mine


@pytest.mark.parametrize(
    ("host", "code"),
    [
        *(("localhost", "domain_invalid"), ("*.acme.example", "domain_invalid")),
        *((f"acme.{BASE}", "domain_reserved"), (BASE, "domain_reserved")),
        *((BASE.partition(".")[2], "domain_reserved"), ("example.org", "domain_reserved")),
    ],
)
async def test_what_cannot_be_a_tenants_domain_is_refused_by_its_field(
    site: Site, client: httpx.AsyncClient, two: list[str], host: str, code: str
) -> None:
    counted = await site.counts()
    answer = await client.post(two[0], json={"host": host})
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/host"]
    assert await site.counts() == counted


@pytest.mark.parametrize("value", [0, 1, "true", "", [], {}])
async def test_what_is_no_flag_is_refused(
    client: httpx.AsyncClient, two: list[str], value: Any
) -> None:
    body = {"host": "www.acme.example", "redirects": value}
    for method, path in (("POST", ""), ("PATCH", "/www.acme.example")):
        fields = body if method == "POST" else {"redirects": value}
        answer = await client.request(method, f"{two[0]}{path}", json=fields)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/redirects")
    assert (await client.get(two[0])).json() == {"items": []}


async def test_flags_are_changed_and_a_domain_is_let_go_of(
    client: httpx.AsyncClient, two: list[str]
) -> None:
    await add(client, two[0], "acme.example", redirects=True)
    await add(client, two[0], "www.acme.example")
    primary = await client.patch(f"{two[0]}/www.acme.example", json={"is_primary": True})
    assert (primary.status_code, primary.json()["is_primary"]) == (200, True)
    wrong = await client.patch(f"{two[0]}/www.acme.example", json={"redirects": True})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/redirects")
    moved = await client.patch(f"{two[0]}/acme.example", json={"is_primary": True})
    assert (moved.json()["is_primary"], moved.json()["redirects"]) == (True, False)
    gone = await client.delete(f"{two[0]}/www.acme.example")
    assert (gone.status_code, gone.json()["is_primary"]) == (200, False)
    left = (await client.get(two[0])).json()["items"]
    assert [domain["host"] for domain in left] == ["acme.example"]
    for method in ("GET", "DELETE"):
        again = await client.request(method, f"{two[0]}/www.acme.example")
        assert (again.status_code, again.json()["code"]) == (404, "domain_not_found")


async def test_a_tenants_domains_are_nobody_elses_and_of_a_number(
    client: httpx.AsyncClient, two: list[str]
) -> None:
    for number in range(3):
        await add(client, two[0], f"w{number}.acme.example")
    full = await client.post(two[0], json={"host": "w3.acme.example"})
    assert (full.status_code, full.json()["code"]) == (409, "domain_limit")
    await add(client, two[1], "w3.acme.example")
    for method, path in (("GET", ""), ("PATCH", ""), ("POST", "/check"), ("DELETE", "")):
        body: Json | None = {} if method == "PATCH" else None
        other = await client.request(method, f"{two[1]}/w0.acme.example{path}", json=body)
        assert (other.status_code, other.json()["code"]) == (404, "domain_not_found")


async def looked_at(client: httpx.AsyncClient, domain: Json) -> Json:
    """The domain once a worker has looked, who began after this was asked."""
    asked = (await client.post(domain["links"]["check"])).json()
    async with asyncio.timeout(60):
        while True:
            found: Json = (await client.get(domain["links"]["self"])).json()
            if found["checked_at"] != asked["checked_at"]:
                return found


def challenged(domain: Json) -> tuple[str, str]:
    """The name below the zone, and the value of the TXT record."""
    proof = domain["records"][0]
    return proof["name"].removesuffix(f".{ZONE}"), f'"{proof["value"]}"'


async def test_a_domain_is_proven_and_then_led_here(
    site: Site, client: httpx.AsyncClient, two: list[str], bind: NameServer
) -> None:
    async with site.working():
        domain = await add(client, two[0], f"www.{ZONE}")
        name, value = challenged(domain)
        pending = await looked_at(client, domain)
        assert (pending["state"], pending["problem"]["code"]) == ("pending", "txt_missing")
        bind.place(ZONE, name, "TXT", '"something else"')
        wrong = await looked_at(client, domain)
        assert (wrong["state"], wrong["problem"]["code"]) == ("pending", "txt_wrong")
        bind.place(ZONE, name, "TXT", value)
        verified = await looked_at(client, domain)
        assert (verified["state"], verified["points_here"]) == ("verified", False)
        assert verified["problem"]["code"] == "points_nowhere"
        bind.place(ZONE, "www", "CNAME", domain["records"][1]["value"])
        sound = await looked_at(client, domain)
    assert (sound["points_here"], sound["problem"], sound["failing_since"]) == (True, None, None)
    assert sound["verified_at"] == verified["verified_at"]
    other = await client.post(two[1], json={"host": f"www.{ZONE}"})
    assert (other.status_code, other.json()["code"]) == (409, "domain_taken")
    assert two[0].split("/")[4] not in other.text
    bind.wipe(ZONE)


async def test_a_domain_is_lost_with_its_proof_and_back_with_it(
    site: Site, client: httpx.AsyncClient, two: list[str], bind: NameServer
) -> None:
    async with site.working():
        domain = await add(client, two[0], f"own.{ZONE}")
        name, value = challenged(domain)
        bind.place(ZONE, name, "TXT", value)
        verified = await looked_at(client, domain)
        bind.remove(ZONE, name)
        failing = await looked_at(client, domain)
        assert (failing["state"], failing["problem"]["code"]) == ("verified", "txt_missing")
        assert failing["failing_since"] is not None
        execute(
            site,
            "UPDATE public.tenant_domains SET failing_since = failing_since - interval '72 h'",
        )
        assert (await looked_at(client, domain))["state"] == "lost"
        bind.place(ZONE, name, "TXT", value)
        back = await looked_at(client, domain)
    assert (back["state"], back["failing_since"]) == ("verified", None)
    assert back["verified_at"] > verified["verified_at"]
    with psycopg.connect(site.database.owner_url) as conn:
        told = conn.execute(
            "SELECT action FROM public.audit_log WHERE target = %s AND actor_kind = 'operation'"
            " ORDER BY at",
            [domain["host"]],
        ).fetchall()
    assert told == [("domain.verified",), ("domain.lost",), ("domain.verified",)]
    bind.wipe(ZONE)


async def test_a_name_that_leads_to_another_tenant_is_not_verified(
    site: Site, client: httpx.AsyncClient, two: list[str], bind: NameServer
) -> None:
    domain = await add(client, two[0], f"shop.{ZONE}")
    stranger = (await client.get(two[1].removesuffix("/domains"))).json()["subdomain"]
    bind.place(ZONE, "shop", "CNAME", f"{stranger}.{BASE}.")
    bind.place(ZONE, "_controlplane-challenge.shop", "TXT", f'"{domain["records"][0]["value"]}"')
    await worker.open_domain_watch(site.parts).sweep()
    astray = (await client.get(domain["links"]["self"])).json()
    assert (astray["state"], astray["problem"]["code"]) == ("pending", "points_elsewhere")
    assert f"{stranger}.{BASE}" in astray["problem"]["detail"]
    bind.remove(ZONE, "shop", "CNAME")
    await client.post(domain["links"]["check"])
    await worker.open_domain_watch(site.parts).sweep()
    assert (await client.get(domain["links"]["self"])).json()["state"] == "verified"
    bind.wipe(ZONE)
