"""What the worker does over all tenants, among so many of them: drift, rollouts, reconciliation, the
warm pool."""

import asyncio
import statistics
from dataclasses import dataclass, replace
from time import perf_counter
from uuid import UUID

import psycopg
from growth_tenants import Figures, Tenants, anonymous_mb, ms, p50
from pool import WARM
from psycopg.sql import SQL, Identifier, Literal
from sqlalchemy.ext.asyncio import AsyncEngine

from controlplane import settings
from controlplane.connections import open_upgrades
from controlplane.domain.dns import record_for
from controlplane.domain.naming import Subdomain, schema_name
from controlplane.domain.rings import parse_rings
from controlplane.domain.rollouts import Ask, Policy
from controlplane.fleet import drift, planning, requests
from controlplane.fleet.online import OnlineUpgrades
from controlplane.fleet.roller import Roller
from controlplane.fleet.upgrading import Upgrader
from controlplane.fleet.ways import Compiled
from controlplane.provisioning import reconcile
from controlplane.store import rollout_progress, rollouts, warm_schemas
from controlplane.store.audit import Actor
from controlplane.tenancy.compile import compiled
from controlplane.tenancy.drop import drop
from controlplane.tenancy.template import Template
from controlplane.wiring import warm_recipe
from controlplane.worker import open_warm_pool
from controlplane_dns.memory import MemoryDns

CLAIMS = 12
# A rollout is let run for so long, to see its rate.
ROLLS_S = 5.0
_CLI = Actor(None, "cli")
_BACK = SQL("""
SET LOCAL app.current_tenant_id = {id};
ALTER TABLE {schema}.documents DROP COLUMN remark;
UPDATE {schema}.alembic_version SET version_num = 'app_0001' WHERE version_num = 'app_0002';
UPDATE public.tenants SET revision = {revision} WHERE id = {id}
""")
_PROCESSES = "SELECT pid FROM pg_stat_activity WHERE usename = %s"
_DONE = "SELECT tenant_id FROM public.rollout_targets WHERE state = 'done'"


@dataclass(frozen=True)
class Fleet:
    """`new` is the template with one more revision."""

    tenants: Tenants
    new: Template

    async def figures(self) -> Figures:
        upgrades = open_upgrades(settings.load(self.tenants.site.values))
        try:
            return {
                **await self._drift(),
                **await self._reconcile(),
                **await self._plans(),
                **await self._begun(),
                **await self._rolled(upgrades),
                **await self._claims(),
                **self._remembered(),
            }
        finally:
            await upgrades.dispose()

    def _remembered(self) -> Figures:
        """The largest of the server's processes that worked for the worker and live yet."""
        with psycopg.connect(self.tenants.site.superuser_url) as conn:
            found = conn.execute(_PROCESSES, [self.tenants.owner_login]).fetchall()
        return {"worker_mb": max(anonymous_mb(process) for (process,) in found)}

    async def _drift(self) -> Figures:
        ids = self.tenants.ids()

        async def look(only: UUID | None = None) -> drift.Report:
            return await drift.look(
                self.tenants.parts.owner,
                installation=self.tenants.parts.installation,
                app_login=self.tenants.app_login,
                template=self.tenants.template,
                only=only,
            )

        one_ms = await p50(5, lambda: look(ids[len(ids) // 2]))
        began = perf_counter()
        report = await look()
        taken = perf_counter() - began
        if report.drifted or report.looked_at != len(ids):
            raise AssertionError(f"{len(report.drifted)} of {report.looked_at} differ.")
        return {"drift_one_ms": one_ms, "drift_s": taken, "drift_ms": taken / len(ids) * 1000}

    async def _reconcile(self) -> Figures:
        parts, dns = self.tenants.parts, MemoryDns()
        with psycopg.connect(self.tenants.site.owner_url) as conn:
            rows = conn.execute("SELECT id, subdomain FROM public.tenants").fetchall()
        for tenant_id, subdomain in rows:
            record = record_for(Subdomain(subdomain), parts.settings.dns_target)
            await dns.ensure(record, self.tenants.mark(tenant_id))
        began = perf_counter()
        found = await reconcile.look(
            parts.owner,
            installation=parts.installation,
            dns=dns,
            dns_target=parts.settings.dns_target,
            newest=compiled(self.tenants.template).revision,
        )
        if found:
            raise AssertionError(f"It does not fit: {found[:3]}")
        return {"reconcile_s": perf_counter() - began}

    async def _plans(self) -> Figures:
        return {
            "plan_ms": await p50(5, lambda: self._plan(self.new)),
            "noop_ms": await p50(5, self._noop),
        }

    async def _plan(self, template: Template) -> planning.RolloutPlan:
        async with self.tenants.parts.owner.connect() as conn:
            return await planning.plan(
                conn,
                template=template,
                policy=_policy(),
                owner=self.tenants.parts.owner,
                installation=self.tenants.parts.installation,
                app_login=self.tenants.app_login,
            )

    async def _noop(self) -> None:
        """A plan and a rollout that find nobody behind."""
        plan = await self._plan(self.tenants.template)
        async with self.tenants.parts.owner.begin() as conn:
            await requests.start(
                conn, revision=plan.revision, digest=plan.digest, policy=_policy(), actor=_CLI
            )

    async def _begun(self) -> Figures:
        """Of a rollout of all, which is undone: the request that enters it, and what `watch` asks
        each time."""
        plan = await self._plan(self.new)
        async with self.tenants.parts.owner.connect() as conn:
            began = perf_counter()
            rollout = await requests.start(
                conn, revision=plan.revision, digest=plan.digest, policy=_policy(), actor=_CLI
            )
            taken = (perf_counter() - began) * 1000
            watched = await p50(5, lambda: rollout_progress.of(conn, rollout))
            await conn.rollback()
        return {"start_ms": taken, "watch_ms": watched}

    async def _rolled(self, upgrades: AsyncEngine) -> Figures:
        """Tenants a second of a rollout of all that is cancelled soon, and then put back."""
        parts, stopping = self.tenants.parts, asyncio.Event()
        online = OnlineUpgrades(
            url=self.tenants.site.owner_url, installation=parts.installation, template=self.new
        )
        upgrader = Upgrader(upgrades, parts.installation, Compiled(self.new))
        roller = Roller(upgrades, self.new.digest, upgrader, online)
        plan = await self._plan(self.new)
        async with parts.owner.begin() as conn:
            rollout = await requests.start(
                conn, revision=plan.revision, digest=plan.digest, policy=_policy(), actor=_CLI
            )
        began = perf_counter()
        turn = asyncio.create_task(roller.turn(stopping))
        await asyncio.wait([turn], timeout=ROLLS_S)
        stopping.set()
        await turn
        taken = perf_counter() - began
        async with parts.owner.begin() as conn:
            if (await rollouts.live(conn)) is not None:
                await requests.ask(conn, rollout.id, Ask.CANCEL, actor=_CLI)
        return {"rollout_per_s": self._put_back() / taken}

    def _put_back(self) -> int:
        revision = Literal(compiled(self.tenants.template).revision)
        with psycopg.connect(self.tenants.site.owner_url, autocommit=True) as conn:
            done = [row[0] for row in conn.execute(_DONE)]
            for tenant in done:
                names = {"schema": Identifier(schema_name(tenant)), "id": Literal(str(tenant))}
                conn.execute(_BACK.format(**names, revision=revision))
            conn.execute("TRUNCATE public.rollouts CASCADE")
            conn.execute("VACUUM ANALYZE public.tenants")
        return len(done)

    async def _claims(self) -> Figures:
        """A transaction of the API's login that takes a schema of the warm pool and commits."""
        parts = self.tenants.parts
        pool = replace(open_warm_pool(parts), size=CLAIMS + WARM)
        while await pool.turn():
            pass
        recipe, claimed = warm_recipe(parts.settings, parts.template), []
        async with parts.control.connect() as conn:

            async def claim() -> None:
                async with conn.begin():
                    found = await warm_schemas.claim(conn, recipe)
                if found is None:
                    raise AssertionError("The pool is empty.")
                claimed.append(found.tenant_id)

            taken = [await ms(claim()) for _ in range(CLAIMS + WARM)]
        for tenant_id in claimed:
            async with parts.owner.begin() as owner:
                await drop(owner, tenant_id=tenant_id, mark=self.tenants.mark(tenant_id))
        return {"claim_ms": statistics.median(taken[WARM:])}


def _policy() -> Policy:
    return Policy(parse_rings([]), max_parallel=2)
