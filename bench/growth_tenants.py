"""The tenants among which growth is measured, what making and dropping one takes, and what they take on
the disk."""

import asyncio
import json
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import UUID, uuid4

import ground
import psycopg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.naming import Mark
from controlplane.provisioning.plans import PROVISION, plan_to_json
from controlplane.store.urls import sqlalchemy_url
from controlplane.tenancy.create import create
from controlplane.tenancy.drop import drop
from controlplane.tenancy.template import Template
from controlplane.wiring import Parts

Figures = dict[str, float]
# So many are made and dropped one after the other at each size.
ALONE = 20
_TOLD_EVERY = 500
_TENANT = text("""
INSERT INTO public.tenants (id, name, subdomain, state, tier, admin_email, revision)
VALUES (:id, :name, :subdomain, 'active', 'starter', 'ada@bench.test', :revision)
""")
# As if each had been asked for, an hour apart from all that is looked at by the hour.
_PAST = (
    """
INSERT INTO public.operations (id, tenant_id, kind, plan, plan_version, state, params, deadline_at,
  created_at, finished_at)
SELECT gen_random_uuid(), t.id, 'provision', %(plan)s::jsonb, 1, 'succeeded', '{}', now(),
  now() - interval '2 hours', now()
FROM public.tenants t
WHERE NOT EXISTS (SELECT FROM public.operations o WHERE o.tenant_id = t.id)
""",
    """
INSERT INTO public.operation_steps (operation_id, ordinal, name, state)
SELECT o.id, s.ordinal - 1, s.step->>'name', 'done' FROM public.operations o
CROSS JOIN jsonb_array_elements(%(plan)s::jsonb->'steps') WITH ORDINALITY AS s (step, ordinal)
WHERE NOT EXISTS (SELECT FROM public.operation_steps x WHERE x.operation_id = o.id)
""",
    """
INSERT INTO public.operation_events (operation_id, seq, epoch, type)
SELECT o.id, n, 1, 'step' FROM public.operations o CROSS JOIN generate_series(1, 12) n
WHERE NOT EXISTS (SELECT FROM public.operation_events x WHERE x.operation_id = o.id)
""",
    """
INSERT INTO public.email_deliveries (tenant_id, operation_id, template, recipient, state, sent_at,
  give_up_at)
SELECT o.tenant_id, o.id, 'welcome', 'ada@bench.test', 'sent', now(), now()
FROM public.operations o
WHERE NOT EXISTS (SELECT FROM public.email_deliveries x WHERE x.operation_id = o.id)
""",
    """
INSERT INTO public.audit_log (actor_kind, action, tenant_id, outcome)
SELECT 'cli', 'tenant.create', t.id, 'ok' FROM public.tenants t
WHERE NOT EXISTS (SELECT FROM public.audit_log x WHERE x.tenant_id = t.id)
""",
)
_ALL = "SELECT id, subdomain FROM public.tenants WHERE state = 'active' ORDER BY created_at, id"
_SIZES = """
SELECT pg_database_size(current_database()), sum(pg_total_relation_size(oid)),
  (SELECT reltuples FROM pg_class WHERE oid = 'pg_class'::regclass)
FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r'
"""


@dataclass(frozen=True)
class Tenants:
    """The tenants of one installation, active, at the sample template's revision."""

    parts: Parts
    site: ground.Site

    @property
    def app_login(self) -> str:
        return sqlalchemy_url(self.site.values["CONTROLPLANE_APP_DATABASE_URL"]).username or ""

    @property
    def owner_login(self) -> str:
        return sqlalchemy_url(self.site.owner_url).username or ""

    @property
    def template(self) -> Template:
        return self.parts.template

    def ids(self) -> list[UUID]:
        """All of them, in the order in which they were made."""
        return [tenant_id for tenant_id, _ in self._all()]

    def subdomains(self) -> list[str]:
        return [subdomain for _, subdomain in self._all()]

    def _all(self) -> list[tuple[UUID, str]]:
        with psycopg.connect(self.site.owner_url) as conn:
            return conn.execute(_ALL).fetchall()

    async def filled(self, wanted: int) -> Figures:
        """As many as are missing, made over two connections; and what all take then."""
        return await self._fill(wanted) | self._checkpoint() | self._on_disk()

    async def _fill(self, wanted: int) -> Figures:
        left = wanted - len(self.ids())
        number, began = left, perf_counter()

        async def make() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                if left and left % _TOLD_EVERY == 0:
                    rate = (number - left) / (perf_counter() - began)
                    print(f"  {wanted - left} of {wanted}, {rate:.1f}/s", flush=True)
                async with self.parts.owner.begin() as conn:
                    await self.made(conn, uuid4())

        await asyncio.gather(make(), make())
        taken = perf_counter() - began
        self._past()
        return {"fill_ms": taken / max(number, 1) * 1000}

    async def made(self, conn: AsyncConnection, tenant_id: UUID) -> None:
        revision = await create(
            conn,
            tenant_id=tenant_id,
            mark=self.mark(tenant_id),
            app_login=self.app_login,
            template=self.template,
        )
        subdomain = f"t-{tenant_id.hex}"
        values = {"id": tenant_id, "name": f"Bench {tenant_id.hex[:6]}", "subdomain": subdomain}
        await conn.execute(_TENANT, {**values, "revision": revision})

    def mark(self, tenant_id: UUID) -> Mark:
        return Mark(self.parts.installation, tenant_id, tenant_id)

    def _past(self) -> None:
        """What the control plane has written of each; statistics as autovacuum leaves them."""
        with psycopg.connect(self.site.owner_url, autocommit=True) as conn:
            for statement in _PAST:
                conn.execute(statement, {"plan": json.dumps(plan_to_json(PROVISION))})
        with psycopg.connect(self.site.superuser_url, autocommit=True) as conn:
            for table in ("tenants", "operations", "operation_steps", "email_deliveries"):
                conn.execute(psycopg.sql.SQL("VACUUM ANALYZE public.{}").format(_named(table)))

    async def alone(self) -> Figures:
        """Medians of one after the other, made and dropped again."""
        some = [uuid4() for _ in range(ALONE)]

        async def gone(tenant_id: UUID) -> None:
            async with self.parts.owner.begin() as conn:
                if not await drop(conn, tenant_id=tenant_id, mark=self.mark(tenant_id)):
                    raise AssertionError("The schema went in parts.")

        async def here(tenant_id: UUID) -> None:
            async with self.parts.owner.begin() as conn:
                await create(
                    conn,
                    tenant_id=tenant_id,
                    mark=self.mark(tenant_id),
                    app_login=self.app_login,
                    template=self.template,
                )

        return {
            "create_ms": statistics.median([await ms(here(one)) for one in some]),
            "drop_ms": statistics.median([await ms(gone(one)) for one in some]),
        }

    def _checkpoint(self) -> Figures:
        with psycopg.connect(self.site.superuser_url, autocommit=True) as conn:
            began = perf_counter()
            conn.execute("CHECKPOINT")
            return {"checkpoint_s": perf_counter() - began}

    def _on_disk(self) -> Figures:
        """Megabytes of the database and of its catalogs, files by the thousand."""
        with psycopg.connect(self.site.superuser_url, autocommit=True) as conn:
            conn.execute("ANALYZE pg_catalog.pg_class")
            database, catalogs, classes = conn.execute(_SIZES).fetchone() or (0, 0, 0)
        base = Path(self.site.folder.postgres, "cluster", "base")
        files = sum(sum(1 for _ in folder.iterdir()) for folder in base.iterdir())
        return {
            "database_mb": float(database) / 2**20,
            "catalogs_mb": float(catalogs) / 2**20,
            "classes_k": float(classes) / 1000,
            "files_k": files / 1000,
        }


def _named(table: str) -> psycopg.sql.Identifier:
    return psycopg.sql.Identifier(table)


async def ms(doing: Awaitable[Any]) -> float:
    began = perf_counter()
    await doing
    return (perf_counter() - began) * 1000


async def p50(times: int, doing: Callable[[], Awaitable[Any]]) -> float:
    """Median milliseconds of one after the other; the first one is not counted."""
    taken = [await ms(doing()) for _ in range(times + 1)]
    return statistics.median(taken[1:])


def anonymous_mb(process: int) -> float:
    """What a process holds for itself, in megabytes; 0 where there is no /proc."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) / 1024
