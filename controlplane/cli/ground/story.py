"""The acts of `demo`, each through the door that users take."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import click
import httpx2
from psycopg.types.json import Jsonb

from controlplane.cli import follow
from controlplane.cli.client import TENANTS, Api, api_at
from controlplane.cli.exits import CommandFailed
from controlplane.cli.ground import checks, sample
from controlplane.cli.ground.checks import Checks
from controlplane.cli.ground.run import Running
from controlplane.cli.output import print_table
from controlplane.domain.naming import schema_name
from controlplane.routing import TenantDirectory

Json = dict[str, Any]

_INFO = "/api/tenant/info"
_PATIENCE_S = 60
_FOREIGN = "initech 300 IN A 192.0.2.66"
_WRITE = "INSERT INTO settings (key, value, value_type) VALUES ('motto', %s, 'string')"
_READ = "SELECT key, value FROM settings WHERE key = 'motto'"


async def act(up: Running) -> None:
    """Everything, in order. Raises CommandFailed that names whatever is not as it must be."""
    found = Checks()
    async with api_at(up.url, up.token, through_proxy=False) as api:
        _heading("Two tenants, through the HTTP API")
        acme = await _make(api, "Acme", "acme")
        globex = await _make(api, "Globex", "globex")
        _heading("A row with the same key in each, through the routing layer")
        await _show_isolation(up, found, [acme, globex])
        _heading("The host name decides")
        await _show_hosts(up, found)
        _heading("A document of the same name in each, through the sample app server")
        await sample.show_documents(up, found)
        _heading("A third, whose name in the zone is somebody else's")
        third = await _fail(api, up, found)
        _heading("What is left")
        await _await_mails(api, [acme, globex])
    await _look_around(up, found, [acme, globex], third)
    found.conclude()


def _heading(text: str) -> None:
    click.echo(click.style(f"\n{text}", bold=True))


async def _make(api: Api, name: str, subdomain: str) -> Json:
    """The tenant, active."""
    began = time.monotonic()
    operation = await _provision(api, name, subdomain)
    follow.require_success(operation)
    tenant = await api.get(f"{TENANTS}/{operation['tenant_id']}")
    click.echo(f"{name} is {tenant['state']} at {tenant['url']} after {_since(began)}.")
    return tenant


async def _provision(api: Api, name: str, subdomain: str) -> Json:
    email = f"admin@{subdomain}.test"
    body = {"name": name, "subdomain": subdomain, "admin_email": email}
    operation = await api.post(TENANTS, body)
    title = f"POST {TENANTS} {subdomain}"
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await follow.to_the_end(api, operation, title=title)
    except TimeoutError:
        raise CommandFailed(f"'{subdomain}' was not done with in time.") from None


def _since(began: float) -> str:
    return f"{time.monotonic() - began:.2f} s"


async def _show_isolation(up: Running, found: Checks, tenants: list[Json]) -> None:
    directory = TenantDirectory(up.parts.app_pool)
    routed = [await directory.lookup(tenant["subdomain"]) for tenant in tenants]
    for tenant in routed:
        assert tenant is not None, "BUG: an active tenant is in the directory"  # noqa: S101
        async with up.parts.tenancy.transaction(tenant) as tx:
            await tx.execute(_WRITE, [Jsonb(f"{tenant.name} first")])
    rows = []
    for tenant in filter(None, routed):
        async with up.parts.tenancy.transaction(tenant) as tx:
            seen = await (await tx.execute(_READ)).fetchall()
        rows.append((tenant.subdomain, str(len(seen)), *map(str, seen[0])))
        wanted = [("motto", f"{tenant.name} first")]
        found.equal(f"{tenant.subdomain} sees its own row only", seen, wanted)
    print_table(("AS", "ROWS", "KEY", "VALUE"), rows)


async def _show_hosts(up: Running, found: Checks) -> None:
    wanted = {"acme": (200, "Acme"), "globex": (200, "Globex"), "nobody": (404, "tenant_not_found")}
    rows = []
    async with httpx2.AsyncClient(base_url=up.url, trust_env=False) as client:
        for label, answer in wanted.items():
            host = f"{label}.{up.settings.base_domain}:{up.settings.listen_port}"
            got = await client.get(_INFO, headers={"Host": host})
            told = got.json()
            rows.append((f"GET http://{host}{_INFO}", str(got.status_code), _told(told)))
            found.equal(
                f"{label}'s host answers {answer[0]}", (got.status_code, _told(told)), answer
            )
    print_table(("REQUEST", "STATUS", "ANSWER"), rows)


def _told(answer: Json) -> str:
    return str(answer.get("name") or answer.get("code"))


async def _fail(api: Api, up: Running, found: Checks) -> UUID:
    """Provision a tenant whose record is somebody else's; the id of what was rolled back."""
    click.echo(f"Into the zone file goes the line: {_FOREIGN}")
    with _foreign_record(up):
        operation = await _provision(api, "Initech", "initech")
        stayed = _FOREIGN in up.folder.zone.read_text(encoding="latin-1").splitlines()
    error = operation["error"] or {}
    click.echo(f"The operation {operation['state']}: {error.get('detail')}")
    tenant = await api.get(f"{TENANTS}/{operation['tenant_id']}")
    found.equal("the third failed at DNS", error.get("code"), "dns_conflict")
    found.equal("the third was rolled back", (operation["state"], tenant["state"]), ("failed",) * 2)
    found.holds("somebody else's record was left alone", stayed)
    return UUID(tenant["id"])


@contextmanager
def _foreign_record(up: Running) -> Iterator[None]:
    """A line without our mark in the zone file, which nothing else changes meanwhile."""
    before = up.folder.zone.read_bytes()
    up.folder.zone.write_bytes(before + f"{_FOREIGN}\n".encode())
    try:
        yield
    finally:
        lines = up.folder.zone.read_bytes().splitlines(keepends=True)
        up.folder.zone.write_bytes(b"".join(x for x in lines if x.strip() != _FOREIGN.encode()))


async def _await_mails(api: Api, tenants: list[Json]) -> None:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            for tenant in tenants:
                while not await _is_welcomed(api, tenant["id"]):  # noqa: ASYNC110  a process of its own sends it
                    await asyncio.sleep(0.1)
    except TimeoutError:
        raise CommandFailed("The welcome mails were not sent in time.") from None


async def _is_welcomed(api: Api, tenant_id: str) -> bool:
    tenant = await api.get(f"{TENANTS}/{tenant_id}")
    return any(mail["state"] == "sent" for mail in tenant["mails"])


async def _look_around(up: Running, found: Checks, tenants: list[Json], third: UUID) -> None:
    wanted = [tenant["schema_name"] for tenant in tenants]
    await checks.in_database(
        found,
        up.urls.superuser,
        installation=up.parts.installation,
        wanted=wanted,
        absent=schema_name(third),
    )
    checks.on_disk(
        found,
        zone=up.folder.zone,
        outbox=up.folder.outbox,
        hosts=[tenant["subdomain"] for tenant in tenants],
        absent="initech",
    )
