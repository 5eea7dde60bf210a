"""Two tenants on a running API, and those who speak for them at their hosts."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, LiteralString
from uuid import UUID

import httpx
import psycopg
from psycopg import sql

from controlplane.domain.principals import Principal, PrincipalKind
from controlplane.identity.keys import signed_tokens
from controlplane.tenancy.admin import admin_id
from tests.database import Server, fresh_database
from tests.web.calls import BASE, Site, make_active, new_tenant, open_site

ADMIN, MANAGER, USER = "tenant_admin", "tenant_manager", "user"
Json = dict[str, Any]


def host_of(tenant: Json) -> str:
    return f"{tenant['subdomain']}.{BASE}"


@dataclass(frozen=True)
class Members:
    site: Site
    acme: Json
    globex: Json

    def token(
        self, tenant: Json, *roles: str, speaker: UUID | None = None, kind: str = "user"
    ) -> str:
        """Of the tenant's first admin, or somebody else, with these roles."""
        tokens = signed_tokens(self.site.parts.settings)
        assert tokens is not None
        tenant_id = UUID(tenant["id"])
        who = speaker or admin_id(tenant_id)
        principal = Principal(who, tenant_id, frozenset(roles), PrincipalKind(kind))
        return tokens.issue(principal, lifetime=timedelta(minutes=10))

    @contextlib.asynccontextmanager
    async def at(
        self, tenant: Json, *roles: str, app: Any = None, **speaker: Any
    ) -> AsyncIterator[httpx.AsyncClient]:
        """A client at the tenant's host: of somebody with these roles, or of nobody."""
        token = self.token(tenant, *roles, **speaker) if roles else None
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        transport = httpx.ASGITransport(app or self.site.app)
        async with httpx.AsyncClient(
            transport=transport, base_url=f"http://{host_of(tenant)}", headers=headers, timeout=60
        ) as client:
            yield client

    def execute(self, tenant: Json, statement: LiteralString, *values: Any) -> list[Any]:
        """In the tenant's schema, as a superuser, whom no policy binds; the rows, if any. `{role}`
        is the tenant's role."""
        role = sql.Identifier(tenant["schema_name"])
        with psycopg.connect(self.site.database.superuser_url) as conn:
            conn.execute(sql.SQL("SET search_path = {}").format(role))
            cursor = conn.execute(sql.SQL(statement).format(role=role), values or None)
            return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def holding(self, tenant: Json, table: str) -> Iterator[None]:
        """A lock on the table that keeps even readers out, as a migration's."""
        name = sql.Identifier(tenant["schema_name"], table)
        with psycopg.connect(self.site.database.superuser_url) as conn:
            conn.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(name))
            yield

    def script(self, tenant: Json, script: str) -> None:
        """Several statements, as `execute`."""
        with psycopg.connect(self.site.database.superuser_url) as conn:
            path = sql.SQL("SET search_path = {}").format(sql.Identifier(tenant["schema_name"]))
            conn.execute(path)
            conn.execute(script.encode())


async def make_tenant(client: httpx.AsyncClient, **changes: Any) -> Json:
    """An active one; needs a worker."""
    made = await make_active(client, new_tenant(**changes))
    found: Json = (await client.get(made["links"]["tenant"])).json()
    return found


@contextlib.asynccontextmanager
async def open_members(server: Server) -> AsyncIterator[Members]:
    with fresh_database(server) as database:
        async with open_site(database) as site:
            async with site.client() as client, site.working():
                acme = await make_tenant(client, tier="professional")
                globex = await make_tenant(client, name="Globex")
            yield Members(site, acme, globex)
