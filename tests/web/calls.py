"""An API over a database of its own, and how the tests call it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx
from sqlalchemy import func, select

from controlplane import settings, wiring, worker
from controlplane.store import admins
from controlplane.store.admin_tables import AdminRole
from controlplane.store.admins import Scope
from controlplane.store.operation_tables import idempotency_keys, operation_steps, operations
from controlplane.store.tables import audit_log
from controlplane.store.tenant_tables import tenants
from controlplane.web.app import create_app
from controlplane.wiring import Parts
from tests.bad_tokens import AUDIENCE, KEY
from tests.database import Database

BASE = AUDIENCE
TENANTS = "/api/admin/tenants"
OPERATIONS = "/api/admin/operations"

_numbers = count(1)


def fresh_subdomain() -> str:
    """One that no other test of this process has."""
    return f"tenant-{next(_numbers)}"


def new_tenant(**changes: Any) -> dict[str, Any]:
    """The body of a request for a tenant, with a subdomain of its own."""
    body = {"name": "Acme", "subdomain": fresh_subdomain(), "admin_email": "ada@acme.test"}
    return {**body, **changes}


async def make_active(client: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    """The ended operation of a new tenant that is active; needs a worker, who may have others' work
    to do before."""
    accepted = await client.post(TENANTS, json=body)
    assert accepted.status_code == 202, accepted.text
    # The stream ends with the operation.
    await client.get(accepted.json()["links"]["events"])
    ended: dict[str, Any] = (await client.get(accepted.headers["location"])).json()
    assert ended["state"] == "succeeded", ended
    return ended


def settings_of(database: Database, **changes: str) -> settings.Settings:
    return settings.load(
        {
            "DATABASE_URL": database.control_url,
            "DATABASE_URL_DIRECT": database.owner_url,
            "CONTROLPLANE_APP_DATABASE_URL": database.app_url,
            "CONTROLPLANE_BASE_DOMAIN": BASE,
            "CONTROLPLANE_DNS": "memory",
            "CONTROLPLANE_DNS_TARGET": "192.0.2.1",
            # Where no resolver listens: nobody outside is asked about tenants' own domains.
            "CONTROLPLANE_DOMAIN_NAMESERVERS": "127.0.0.1:9",
            "CONTROLPLANE_MAIL": "memory",
            "CONTROLPLANE_MAIL_FROM": "controlplane@example.test",
            "CONTROLPLANE_BODY_LIMIT_BYTES": "65536",
            "CONTROLPLANE_WORKER_POLL_S": "0.1",
            # Tests ask as often as they like, unless they are about that.
            "CONTROLPLANE_RATE_LIMIT_TENANT": "0",
            "CONTROLPLANE_RATE_LIMIT_PRINCIPAL": "0",
            "CONTROLPLANE_RATE_LIMIT_ADDRESS": "0",
            "CONTROLPLANE_TENANT_TOKEN_KEY": KEY.decode(),
            "CONTROLPLANE_SECRETS_KEY": "a key of the tests for their secrets",
            **changes,
        }
    )


@dataclass
class Site:
    """The application, its parts and a token of each kind."""

    parts: Parts
    app: Any
    database: Database
    tokens: dict[str, str] = field(default_factory=dict, repr=False)

    @contextlib.asynccontextmanager
    async def client(
        self, speaker: str | None = "admin", *, host: str = "127.0.0.1"
    ) -> AsyncIterator[httpx.AsyncClient]:
        """A client that sends the token of this name, or none."""
        headers = {} if speaker is None else {"authorization": f"Bearer {self.tokens[speaker]}"}
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(
            transport=transport, base_url=f"http://{host}", headers=headers, timeout=60
        ) as client:
            yield client

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """A worker runs meanwhile."""
        stopping = asyncio.Event()
        running = asyncio.create_task(worker.run_worker(self.parts, stopping))
        try:
            yield
        finally:
            stopping.set()
            await running

    async def counts(self) -> dict[str, int]:
        """How many rows there are of what a request can make."""
        made = (tenants, operations, operation_steps, idempotency_keys, audit_log)
        async with self.parts.owner.connect() as conn:
            return {
                table.name: (
                    await conn.execute(select(func.count()).select_from(table))
                ).scalar_one()
                for table in made
            }


@contextlib.asynccontextmanager
async def open_site(database: Database, **changes: str) -> AsyncIterator[Site]:
    async with wiring.open_parts(settings_of(database, **changes)) as parts:
        site = Site(parts, create_app(parts), database)
        for role in AdminRole:
            site.tokens[role] = await _token(parts, role)
        site.tokens["reader"] = await _token(parts, AdminRole.ADMIN, "reader", [Scope.READ])
        yield site


async def _token(
    parts: Parts, role: AdminRole, name: str | None = None, scopes: list[Scope] | None = None
) -> str:
    email = f"{name or role}@example.test"
    async with parts.control.begin() as conn:
        await admins.add_admin(conn, email=email, name=None, role=role)
        return await admins.add_token(
            conn, email=email, name="test", scopes=frozenset(scopes or Scope)
        )
