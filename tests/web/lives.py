"""A tenant in a state, and what can be asked and seen of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any, LiteralString
from uuid import UUID

import httpx
import psycopg
from psycopg import sql

from tests.web.calls import BASE, TENANTS, Site, make_active, new_tenant

# How an active tenant gets there.
WAYS = {
    "active": [],
    "suspended": ["suspend"],
    "deleted": ["delete"],
    "purged": ["delete", "purge"],
}


@dataclass(frozen=True)
class Held:
    """A tenant, and a super admin's client of the API."""

    site: Site
    client: httpx.AsyncClient
    address: str
    subdomain: str

    @property
    def schema(self) -> str:
        return f"tenant_{UUID(self.address.rpartition('/')[2]).hex}"

    async def ask(self, verb: str, **body: Any) -> httpx.Response:
        """Without a body the request is one that is meant."""
        if verb == "delete":
            return await self.client.delete(self.address)
        if verb == "purge" and not body:
            body = {"confirm": self.subdomain, "skip_grace": True}
        return await self.client.post(f"{self.address}/{verb}", json=body or None)

    async def do(self, verb: str) -> Any:
        """Asked, followed to its end, succeeded."""
        accepted = await self.ask(verb)
        assert accepted.status_code == 202, accepted.text
        # The stream ends with the operation.
        await self.client.get(accepted.json()["links"]["events"])
        ended = (await self.client.get(accepted.headers["location"])).json()
        assert ended["state"] == "succeeded", ended
        return ended

    async def shown(self) -> Any:
        return (await self.client.get(self.address)).json()

    async def served(self, expected: tuple[int, str | None]) -> tuple[int, str | None]:
        """What the tenant's host answers, status and code; it may take seconds to hear of a change."""
        # An admin's token is no good there.
        host = {"host": f"{self.subdomain}.{BASE}", "authorization": ""}
        ends = monotonic() + 60
        while True:
            answer = await self.client.get("/api/tenant/info", headers=host)
            told = (answer.status_code, answer.json().get("code"))
            if told == expected or monotonic() > ends:
                return told

    def query(self, statement: LiteralString, *values: str) -> list[Any]:
        """As the superuser, whom no policy binds; {} is the tenant's schema."""
        with psycopg.connect(self.site.database.superuser_url) as conn:
            cursor = conn.execute(sql.SQL(statement).format(sql.Identifier(self.schema)), values)
            return cursor.fetchall() if cursor.description else []


def remember(tenant: Held) -> None:
    """A row of the tenant's own, with the same key in every tenant."""
    tenant.query(
        "INSERT INTO {}.settings (key, value, value_type, tenant_id)"
        " VALUES ('motto', to_jsonb(%s::text), 'string', %s)",
        tenant.subdomain,
        tenant.address.rpartition("/")[2],
    )


def remembered(tenant: Held) -> list[Any]:
    return tenant.query("SELECT value FROM {}.settings WHERE key = 'motto'")


def traces(tenant: Held) -> list[str]:
    """What there is of the tenant outside the control plane's own tables."""
    name = tenant.schema
    found = {
        "schema": tenant.query("SELECT 1 FROM pg_namespace WHERE nspname = %s", name),
        "role": tenant.query("SELECT 1 FROM pg_roles WHERE rolname = %s", name),
        "record": tenant.subdomain in tenant.site.parts.dns.records,  # type: ignore[attr-defined]  # in memory
    }
    return [what for what, there in found.items() if there]


@asynccontextmanager
async def held(site: Site) -> AsyncIterator[Held]:
    """An active tenant; no worker is left running."""
    async with site.client("super_admin") as client:
        body = new_tenant()
        async with site.working():
            made = await make_active(client, body)
        yield Held(site, client, made["links"]["tenant"], body["subdomain"])


async def bring(tenant: Held, state: str) -> None:
    """Take an active tenant to a state."""
    async with tenant.site.working():
        for verb in WAYS[state]:
            await tenant.do(verb)
    assert (await tenant.shown())["state"] == state


@asynccontextmanager
async def failed(site: Site) -> AsyncIterator[Held]:
    """A tenant whose provisioning was cancelled."""
    async with site.client("super_admin") as client:
        body = new_tenant()
        accepted = (await client.post(TENANTS, json=body)).json()
        await client.post(accepted["links"]["cancel"])
        async with site.working():
            await client.get(accepted["links"]["events"])
        yield Held(site, client, accepted["links"]["tenant"], body["subdomain"])


@asynccontextmanager
async def in_state(site: Site, state: str) -> AsyncIterator[Held]:
    async with failed(site) if state == "failed" else held(site) as tenant:
        if state != "failed":
            await bring(tenant, state)
        yield tenant
