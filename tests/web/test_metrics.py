"""What Prometheus reads, who may read it, and what it never tells."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from re import MULTILINE, findall
from shutil import which

import anyio
import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event

import controlplane
from controlplane import worker
from controlplane.web.app import create_app
from controlplane.web.metrics import Metrics
from controlplane.web.outer import Outer
from tests.database import Database, Server
from tests.web.calls import BASE, TENANTS, Site, new_tenant, open_site
from tests.web.test_health import close_database

pytestmark = pytest.mark.anyio

DOCS = Path(controlplane.__file__).parents[1] / "docs"
REFERENCE = DOCS / "reference" / "metrics.md"
# What Prometheus adds to the family's name.
_SUFFIXES = {"counter": "_total"}
TOKEN = "a-token-of-prometheus"  # noqa: S105  of this test alone


def samples(text: str) -> dict[tuple[str, ...], float]:
    """By name and the values of its labels, in the order of their names."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def scraped(client: httpx.AsyncClient) -> dict[tuple[str, ...], float]:
    answer = await client.get("/metrics")
    assert answer.status_code == 200, answer.text
    return samples(answer.text)


@asynccontextmanager
async def at_once(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    """A client of metrics that are never some seconds old."""

    async def nowhere(*_: object) -> None:
        raise AssertionError

    metrics = Metrics(
        nowhere,
        registry=CollectorRegistry(),
        control=site.parts.control,
        token=None,
        base_domain=BASE,
        fresh_s=0.0,
    )
    transport = httpx.ASGITransport(Outer(metrics))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


async def test_tenants_operations_and_mails_are_counted_by_state(database: Database) -> None:
    async with open_site(database) as site, site.client() as client, at_once(site) as prometheus:
        before = await scraped(prometheus)
        await client.post(TENANTS, json=new_tenant())
        accepted = await scraped(prometheus)
        async with site.working():
            (operation,) = (await client.get("/api/admin/operations")).json()["items"]
            await client.get(operation["links"]["events"])
        after = await scraped(prometheus)

    assert before["controlplane_tenants", "active"] == 0
    assert before["controlplane_operations", "pending"] == 0
    assert before["controlplane_operations_oldest_due_seconds",] == 0
    assert before["controlplane_findings_look_timestamp_seconds",] == 0
    assert accepted["controlplane_tenants", "provisioning"] == 1
    assert accepted["controlplane_operations", "pending"] == 1
    assert accepted["controlplane_operations_oldest_due_seconds",] > 0
    assert after["controlplane_tenants", "active"] == 1
    assert after["controlplane_operations", "pending"] == 0
    assert sum(after["controlplane_mails", state] for state in ("queued", "sending", "sent")) == 1
    assert {before["controlplane_database_up",], after["controlplane_database_up",]} == {1}


async def test_findings_are_counted_by_kind_with_the_time_of_the_look(database: Database) -> None:
    async with open_site(database) as site, at_once(site) as prometheus:
        async with site.parts.owner.begin() as conn:
            await conn.exec_driver_sql(
                "INSERT INTO public.tenants (id, name, subdomain, state, tier, admin_email)"
                " VALUES (gen_random_uuid(), 'A', 'acme', 'deleting', 'starter', 'a@b.test')"
            )
        await worker.open_reaper(site.parts).sweep()
        found = await scraped(prometheus)
    assert found["controlplane_findings", "tenant_without_operation"] == 1
    assert found["controlplane_findings", "record_missing"] == 0
    assert found["controlplane_findings_look_timestamp_seconds",] > 1_700_000_000


async def test_domains_are_counted_by_state_and_by_what_was_seen(database: Database) -> None:
    async with open_site(database) as site, at_once(site) as prometheus:
        before = await scraped(prometheus)
        async with site.parts.owner.begin() as conn:
            await conn.exec_driver_sql(
                "WITH t AS (INSERT INTO public.tenants (id, name, subdomain, state, tier, admin_email)"
                " VALUES (gen_random_uuid(), 'A', 'acme', 'active', 'starter', 'a@b.test')"
                " RETURNING id)"
                " INSERT INTO public.tenant_domains (tenant_id, host, challenge, state, verified_at,"
                " failing_since, checked_at, check_at, last_error)"
                " SELECT id, host, 'x', state, verified, failing, now(), now() - ago, error FROM t,"
                " (VALUES ('a.test', 'pending', NULL::timestamptz, NULL::timestamptz, '0 s'::interval,"
                '   \'{"code": "txt_missing"}\'::jsonb),'
                " ('b.test', 'verified', now(), now(), '1 h', '{\"code\": \"txt_missing\"}'),"
                " ('c.test', 'verified', now(), NULL, '-1 h', NULL))"
                " AS d (host, state, verified, failing, ago, error)"
            )
        found = await scraped(prometheus)
    assert before["controlplane_domains", "verified"] == 0
    assert before["controlplane_domain_looks", "points_elsewhere"] == 0
    assert before["controlplane_domains_oldest_due_seconds",] == 0
    assert found["controlplane_domains", "pending"] == 1
    assert found["controlplane_domains", "verified"] == 2
    assert found["controlplane_domain_looks", "txt_missing"] == 2
    assert found["controlplane_domain_looks", "ok"] == 1
    assert found["controlplane_domains_failing",] == 1
    assert found["controlplane_domains_oldest_due_seconds",] >= 3600


async def test_requests_are_timed_by_route_method_and_class_of_status(database: Database) -> None:
    async with open_site(database) as site, site.client() as client:
        body = new_tenant()
        accepted = await client.post(TENANTS, json=body)
        await client.get(accepted.json()["links"]["tenant"])
        await client.get(f"/reset/{site.tokens['admin']}")
        await client.request("BREW", TENANTS)
        await client.get("/api/tenant/info", headers={"host": f"nobody.{BASE}"})
        answer = await client.get("/metrics")
        again = await client.get("/metrics")
    counted = {
        key[1:]: number
        for key, number in samples(again.text).items()
        if key[0] == "controlplane_http_request_duration_seconds_count"
    }
    assert counted == {
        ("POST", TENANTS, "2xx"): 1,
        ("GET", f"{TENANTS}/{{tenant_id}}", "2xx"): 1,
        ("GET", "none", "4xx"): 2,
        ("other", "none", "4xx"): 1,
        ("GET", "/metrics", "2xx"): 1,
    }
    for secret in (body["subdomain"], accepted.json()["tenant_id"], "nobody", site.tokens["admin"]):
        assert secret not in answer.text + again.text


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("10.0.0.1:8080", 200),
        ("[::1]:8080", 200),
        ("controlplane-api:8080", 200),
        (BASE, 404),
        (f"admin.{BASE}", 404),
        (f"ADMIN.{BASE}.:443", 404),
        (f"a.b.{BASE}", 404),
        (f"nobody.{BASE}", 404),
        (f"not-{BASE}", 200),
        ("", 400),
    ],
)
async def test_without_a_token_only_internal_hosts_are_answered(
    site: Site, host: str, status: int
) -> None:
    async with site.client(None) as client:
        answer = await client.get("/metrics", headers={"host": host})
    assert answer.status_code == status


async def test_with_a_token_whoever_sends_it_is_answered_and_tenants_hosts_never(
    database: Database,
) -> None:
    async with (
        open_site(database, CONTROLPLANE_METRICS_TOKEN=TOKEN) as site,
        site.client(None) as anybody,
        site.client() as admin,
    ):
        right = {"authorization": f"bearer {TOKEN}"}
        refused = [
            await anybody.get("/metrics"),
            await admin.get("/metrics"),
            await anybody.get("/metrics", headers={"authorization": f"Bearer {TOKEN}x"}),
            await anybody.get("/metrics", headers={"authorization": TOKEN}),
        ]
        public = await anybody.get("/metrics", headers={**right, "host": f"admin.{BASE}"})
        tenant = await anybody.get("/metrics", headers={**right, "host": f"acme.{BASE}"})
        head = await anybody.head("/metrics", headers=right)
        post = await anybody.post("/metrics", headers=right)
    assert {(a.status_code, a.json()["code"]) for a in refused} == {
        (401, "authentication_required")
    }
    assert public.status_code == 200
    assert public.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert tenant.status_code == 404
    assert (head.status_code, head.content) == (200, b"")
    assert (post.status_code, post.headers["allow"]) == (405, "GET, HEAD")


async def test_a_database_that_is_down_fails_no_scrape(server: Server, database: Database) -> None:
    async with open_site(database) as site, at_once(site) as client:
        close_database(server, database, closed=True)
        down = await scraped(client)
        close_database(server, database, closed=False)
        up = await scraped(client)
    assert down["controlplane_database_up",] == 0
    assert "controlplane_build_info" in {name for name, *_ in down}
    assert not [name for name, *_ in down if name.startswith("controlplane_tenants")]
    assert up["controlplane_database_up",] == 1
    assert up["controlplane_tenants", "active"] == 0


async def test_many_scrapes_at_once_are_one_look_into_the_database(site: Site) -> None:
    app, looks = create_app(site.parts), []
    event.listen(site.parts.control.sync_engine, "checkout", lambda *_: looks.append(1))
    transport = httpx.ASGITransport(app)
    async with (
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client,
        anyio.create_task_group() as group,
    ):
        for _ in range(20):
            group.start_soon(scraped, client)
    assert len(looks) == 1


async def test_the_reference_tells_every_metric_its_kind_and_its_labels(site: Site) -> None:
    async with site.client(None) as client:
        await client.get("/health/live")
        text = (await client.get("/metrics")).text
    answered = set()
    for family in text_string_to_metric_families(text):
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        suffix = "_info" if family.name == "controlplane_build" else _SUFFIXES.get(family.type, "")
        answered.add((f"{family.name}{suffix}", family.type, ", ".join(sorted(labels)) or "-"))
    told = findall(
        r"^\| `(\w+)` \| (\w+) \| ([^|]*) \|", REFERENCE.read_text(encoding="utf-8"), MULTILINE
    )
    assert {(name, kind, labels.replace("`", "")) for name, kind, labels in told} == answered


@pytest.mark.requires("promtool")
async def test_promtool_finds_nothing_to_improve(site: Site) -> None:
    async with site.client(None) as client:
        text = (await client.get("/metrics")).text
    promtool = which("promtool")
    assert promtool is not None
    checked = await anyio.run_process([promtool, "check", "metrics"], input=text.encode())
    assert (checked.returncode, checked.stderr) == (0, b"")
