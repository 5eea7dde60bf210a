"""What a rollout costs: one column and one index for every tenant of the sample template, by a worker's
loop with one and with two transactions at once, and by a bare psycopg connection that sends the same
SQL tenant by tenant; in turn, in one run. Alembic's upgrade, tenant by tenant, and django-tenants'
`migrate_schemas`, where it installs.

    .venv/bin/python bench/fleet.py [--tenants N] [--rounds N] [--json]
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from uuid import UUID, uuid4

import django_fleet
import ground
import pool
import psycopg
from fleet_templates import templates
from psycopg.sql import SQL, Identifier, Literal
from sqlalchemy.ext.asyncio import AsyncEngine

from controlplane import log, settings
from controlplane.connections import installation_of, open_upgrades
from controlplane.domain.naming import Mark, schema_name
from controlplane.domain.rings import parse_rings
from controlplane.domain.rollouts import Policy
from controlplane.fleet import planning, requests
from controlplane.fleet.online import OnlineUpgrades
from controlplane.fleet.roller import Roller
from controlplane.fleet.upgrading import Upgrader
from controlplane.fleet.ways import Compiled
from controlplane.store.audit import Actor
from controlplane.store.urls import sqlalchemy_url
from controlplane.tenancy import alembic_run
from controlplane.tenancy.compile import compiled
from controlplane.tenancy.create import create
from controlplane.tenancy.scope import enter
from controlplane.tenancy.template import Template

# So many tenants say how long Alembic takes.
ALEMBIC = 40
DJANGO = 100
# So many claims and tenants, each way, what the warm pool gains.
POOL = 12
KEYS = ("upgrade_vs_floor", "two_vs_one", "vs_alembic", "vs_django_tenants", "noop_s", *pool.KEYS)
_BACK = SQL("""
SET LOCAL app.current_tenant_id = {id};
ALTER TABLE {schema}.documents DROP COLUMN IF EXISTS remark;
UPDATE {schema}.alembic_version SET version_num = 'app_0001' WHERE version_num = 'app_0002';
UPDATE public.tenants SET revision = {revision} WHERE id = {id}
""")


@dataclass
class Bench:
    site: ground.Site
    owner: AsyncEngine
    installation: UUID
    old: Template
    new: Template
    tenants: list[UUID]

    async def fill(self, number: int) -> None:
        """So many active tenants at the older template, made by two connections."""
        app_login = sqlalchemy_url(self.site.values["CONTROLPLANE_APP_DATABASE_URL"]).username or ""
        left = [uuid4() for _ in range(number)]
        self.tenants = list(left)

        async def make() -> None:
            while left:
                tenant = left.pop()
                mark = Mark(self.installation, tenant, uuid4())
                async with self.owner.begin() as conn:
                    await create(
                        conn,
                        tenant_id=tenant,
                        mark=mark,
                        app_login=app_login,
                        template=self.old,
                    )

        await asyncio.gather(make(), make())
        with psycopg.connect(self.site.owner_url) as conn:
            for tenant in self.tenants:
                conn.execute(
                    "INSERT INTO public.tenants"
                    " (id, name, subdomain, state, tier, admin_email, revision)"
                    " VALUES (%s, 'Bench', %s, 'active', 'starter', 'ada@bench.test', %s)",
                    [tenant, f"t-{tenant.hex}", compiled(self.old).revision],
                )

    def back(self) -> None:
        """Everybody at the older revision again, and the tables as after a night's rest."""
        with psycopg.connect(self.site.owner_url, autocommit=True) as conn:
            for tenant in self.tenants:
                names = {"schema": Identifier(schema_name(tenant)), "id": Literal(str(tenant))}
                revision = Literal(compiled(self.old).revision)
                conn.execute(_BACK.format(**names, revision=revision))
            conn.execute("TRUNCATE public.rollouts CASCADE")
            conn.execute("VACUUM ANALYZE public.tenants")

    def floor(self, connections: int) -> Callable[[], Awaitable[float]]:
        """Seconds of the same SQL over bare connections, a transaction each."""
        script = compiled(self.new, start=frozenset(compiled(self.old).heads))

        def loop(some: list[UUID]) -> None:
            with psycopg.connect(self.site.owner_url, autocommit=True) as conn:
                for tenant in some:
                    body = script.render(schema=schema_name(tenant), tenant_id=tenant)
                    before = f"{enter(tenant)}; SET LOCAL lock_timeout = 200;\n"
                    with conn.transaction():
                        conn.execute(f"{before}{body}".encode())

        async def seconds() -> float:
            begun = perf_counter()
            shares = (self.tenants[number::connections] for number in range(connections))
            await asyncio.gather(*(asyncio.to_thread(loop, share) for share in shares))
            return perf_counter() - begun

        return seconds

    def rollout(self, lanes: int) -> Callable[[], Awaitable[float]]:
        async def seconds() -> float:
            roller = Roller(
                self.owner,
                self.new.digest,
                Upgrader(self.owner, self.installation, Compiled(self.new)),
                OnlineUpgrades(
                    url=self.site.owner_url, installation=self.installation, template=self.new
                ),
                lanes=lanes,
            )
            policy, stopping = Policy(parse_rings([]), max_parallel=lanes), asyncio.Event()
            begun = perf_counter()
            await self._start(policy)
            while await roller.turn(stopping):
                pass
            taken = perf_counter() - begun
            await self._all_done()
            return taken

        return seconds

    async def plan(self, policy: Policy) -> planning.RolloutPlan:
        app_url = self.site.values["CONTROLPLANE_APP_DATABASE_URL"]
        async with self.owner.begin() as conn:
            return await planning.plan(
                conn,
                template=self.new,
                policy=policy,
                owner=self.owner,
                installation=self.installation,
                app_login=sqlalchemy_url(app_url).username or "",
            )

    async def _start(self, policy: Policy) -> None:
        plan = await self.plan(policy)
        async with self.owner.begin() as conn:
            await requests.start(
                conn,
                revision=plan.revision,
                digest=plan.digest,
                policy=policy,
                actor=Actor(None, "cli"),
            )

    async def _all_done(self) -> None:
        with psycopg.connect(self.site.owner_url) as conn:
            row = conn.execute(
                "SELECT state, (SELECT count(*) FROM public.tenants WHERE revision = r.revision)"
                " FROM public.rollouts r ORDER BY created_at DESC LIMIT 1"
            ).fetchone()
        if row != ("succeeded", len(self.tenants)):
            raise AssertionError(f"The rollout left {row}.")

    async def noop(self) -> float:
        """Seconds of a plan and a rollout that find nobody behind."""
        begun = perf_counter()
        await self._start(Policy(parse_rings([])))
        return perf_counter() - begun

    def alembic_s(self) -> float:
        """Seconds for each tenant as `alembic upgrade` would take: revisions and connection anew."""
        some = self.tenants[:ALEMBIC]
        begun = perf_counter()
        for tenant in some:
            alembic_run.revisions.cache_clear()
            alembic_run.upgrade(
                url=self.site.owner_url, tenant_id=tenant, template=self.new, lock_timeout_ms=200
            )
        return (perf_counter() - begun) / len(some)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", type=int, default=1000, help="how many are upgraded")
    parser.add_argument("--rounds", type=int, default=3, help="of all ways in turn")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    wanted = parser.parse_args()
    log.configure(level="error", style="console", stream=sys.stderr)
    with ground.site() as site, tempfile.TemporaryDirectory(prefix="controlplane-bench-") as folder:
        figures = asyncio.run(_measure(site, Path(folder), wanted.tenants, wanted.rounds))
    print(_table(figures, wanted.tenants))
    if wanted.json:
        print(json.dumps({name: round(figures[name], 3) for name in KEYS if name in figures}))


async def _measure(site: ground.Site, folder: Path, tenants: int, rounds: int) -> dict[str, float]:
    old, new = templates(folder)
    owner = open_upgrades(settings.load(site.values))
    try:
        bench = Bench(site, owner, await installation_of(owner), old, new, [])
        await bench.fill(tenants)
        ways = {
            "floor": bench.floor(1),
            "one": bench.rollout(1),
            "two": bench.rollout(2),
            "floor_two": bench.floor(2),
        }
        taken: dict[str, list[float]] = {name: [] for name in ways}
        # Once per process and template: a second of Alembic, and the trial.
        await bench.plan(Policy(parse_rings([])))
        for _ in range(rounds):
            for name, way in ways.items():
                bench.back()
                taken[name].append(await way())
        noop_s = await bench.noop()
        bench.back()
        alembic_s = bench.alembic_s()
    finally:
        await owner.dispose()
    seconds = {name: statistics.median(each) for name, each in taken.items()}

    def rate(way: str, of: str) -> float:
        pairs = zip(taken[of], taken[way], strict=True)
        return statistics.median(other / each for other, each in pairs)

    return {
        **{f"{name}_per_s": tenants / each for name, each in seconds.items()},
        "alembic_per_s": 1 / alembic_s,
        "upgrade_vs_floor": rate("one", "floor"),
        "two_vs_one": rate("two", "one"),
        "floor_two_vs_one": rate("floor_two", "floor"),
        "vs_alembic": alembic_s * tenants / seconds["one"],
        "noop_s": noop_s,
        **await pool.figures(site, POOL),
        **django_fleet.figures(site.owner_url, min(tenants, DJANGO), ours=tenants / seconds["two"]),
    }


def _table(figures: dict[str, float], tenants: int) -> str:
    rows = [
        ("bare connection (floor)", f"{figures['floor_per_s']:.0f} tenants/s", "1.00"),
        (
            "two bare connections",
            f"{figures['floor_two_per_s']:.0f} tenants/s",
            f"{figures['floor_two_vs_one']:.2f} of one",
        ),
        (
            "rollout, one at once",
            f"{figures['one_per_s']:.0f} tenants/s",
            f"{figures['upgrade_vs_floor']:.2f}",
        ),
        (
            "rollout, two at once",
            f"{figures['two_per_s']:.0f} tenants/s",
            f"{figures['two_vs_one']:.2f} of one",
        ),
        (
            "Alembic, one after the other",
            f"{figures['alembic_per_s']:.0f} tenants/s",
            f"one: {figures['vs_alembic']:.1f} times",
        ),
        *django_fleet.table(figures),
        (f"nothing to do, {tenants} tenants", f"{figures['noop_s']:.2f} s", ""),
        *pool.table(figures),
    ]
    return "\n".join(f"{name:<32} {value:>16}  {ratio}" for name, value, ratio in rows)


if __name__ == "__main__":
    main()
