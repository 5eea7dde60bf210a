"""Six tenants at an older revision, and workers' parts to upgrade them with."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from controlplane.domain.naming import schema_name
from controlplane.domain.rings import parse_rings
from controlplane.domain.rollouts import Ask, Policy
from controlplane.fleet import requests
from controlplane.fleet.online import OnlineUpgrades
from controlplane.fleet.roller import Roller
from controlplane.fleet.upgrading import Failpoint, Upgrader, nowhere
from controlplane.fleet.ways import Compiled
from controlplane.store import rollouts
from controlplane.store.audit import Actor
from controlplane.store.rollouts import Rollout
from controlplane.store.urls import sqlalchemy_url
from controlplane.tenancy import template
from controlplane.tenancy.template import Template
from tests.database import Database, Server, fresh_database
from tests.integration.tenancy.places import Place
from tests.integration.tenancy.templates import application, revision

ACTOR = Actor(None, "cli")
NAMES = ("acme", "globex", "hooli", "initech", "stark", "wayne")
BEFORE, AFTER = "core_0003,own_0001", "core_0003,own_0002"
ADDS = """
op.add_column("notes", sa.Column("title", sa.Text()))
op.create_index("ix_notes_title", "notes", ["title"])
"""
# What a revision of `Fleet.waiting` does as well: it ends when nobody else has this lock.
WAIT = "SELECT pg_advisory_xact_lock(4711)"
# All in one ring, unless a test is about rings.
POLICY = Policy(parse_rings([]), lock_timeout_ms=50, attempts=3)

_BACK = SQL("""
ALTER TABLE {schema}.notes DROP COLUMN IF EXISTS title;
SET LOCAL app.current_tenant_id = {id};
UPDATE {schema}.alembic_version SET version_num = 'own_0001' WHERE version_num ~ '^own_';
DELETE FROM {schema}.notes;
INSERT INTO {schema}.notes (id, body, tenant_id) VALUES (1, 'desserts', {id})
""")


@dataclass
class Fleet:
    """`tenants` by name; every one has the note number 1 in its table `notes`."""

    database: Database
    place: Place
    engine: AsyncEngine
    old: Template
    new: Template
    folder: Path
    tenants: dict[str, UUID] = field(default_factory=dict)

    def templates(self, name: str, upgrade: str, *, more: str = "") -> Template:
        """The older template with another second revision, once made in this module."""
        folder = self.folder / name
        if not folder.exists():
            application(folder)
            revision(folder, "own_0002", down="own_0001", upgrade=upgrade, more=more)
        return template.load(folder)

    def waiting(self) -> Template:
        """A template whose second revision lasts as long as a test holds WAIT's lock."""
        return self.templates("waiting", f'{ADDS}op.execute("{WAIT}")\n')

    async def begin(self, *, of: Template | None = None, to: str = AFTER, **policy: Any) -> Rollout:
        async with self.engine.begin() as conn:
            return await requests.start(
                conn,
                revision=to,
                digest=(of or self.new).digest,
                policy=replace(POLICY, **policy),
                actor=ACTOR,
            )

    async def ask(self, rollout: Rollout, what: Ask) -> Rollout:
        async with self.engine.begin() as conn:
            return await requests.ask(conn, rollout.id, what, actor=ACTOR)

    def roller(
        self,
        *,
        of: Template | None = None,
        failpoint: Failpoint = nowhere,
        lanes: int = 2,
        in_one_message: bool | None = None,
    ) -> Roller:
        """A worker's part; whoever lets it go online closes that. With a failpoint it goes step by
        step, unless told otherwise."""
        used = of or self.new
        installation = self.database.installation
        return Roller(
            self.engine,
            used.digest,
            Upgrader(self.engine, installation, Compiled(used), failpoint),
            OnlineUpgrades(url=self.database.owner_url, installation=installation, template=used),
            lanes=lanes,
            in_one_message=failpoint is nowhere if in_one_message is None else in_one_message,
            poll_s=0.05,
        )

    async def work(self, roller: Roller | None = None, *, turns: int = 40) -> None:
        """Turn by turn, as long as something comes of it; whatever waits is due at once."""
        roller, stopping = roller or self.roller(), asyncio.Event()
        for _ in range(turns):
            await self.sql(
                "UPDATE public.rollout_targets SET run_at = now() WHERE state = 'pending'"
            )
            if not await roller.turn(stopping):
                return
        raise AssertionError("it does not come to rest")

    async def view(self, rollout: Rollout) -> Rollout:
        async with self.engine.connect() as conn:
            return await rollouts.get(conn, rollout.id)

    async def states(self, rollout: Rollout) -> dict[str, str]:
        rows = await self.sql(
            "SELECT n.subdomain, t.state FROM public.rollout_targets t"
            " JOIN public.tenants n ON n.id = t.tenant_id WHERE t.rollout_id = :id",
            id=rollout.id,
        )
        return dict(sorted((row.subdomain, row.state) for row in rows))

    async def error(self, rollout: Rollout, name: str) -> Any:
        rows = await self.sql(
            "SELECT error, attempt FROM public.rollout_targets"
            " WHERE rollout_id = :id AND tenant_id = :tenant",
            id=rollout.id,
            tenant=self.tenants[name],
        )
        return rows[0].error, rows[0].attempt

    async def sql(self, statement: str, **values: Any) -> list[Any]:
        async with self.engine.begin() as conn:
            result = await conn.execute(text(statement), values)
            return list(result) if result.returns_rows else []

    def revision(self, name: str) -> str:
        """Of the schema and the catalog, which say the same and have what belongs to it."""
        schema = schema_name(self.tenants[name])
        with self.place.superuser() as conn:
            row = conn.execute(
                SQL(
                    "SELECT (SELECT string_agg(version_num, ',' ORDER BY version_num) FROM"
                    " {schema}.alembic_version), n.revision, to_regclass({index}) IS NOT NULL,"
                    " EXISTS (SELECT FROM pg_attribute WHERE attrelid = {table}::regclass"
                    " AND attname = 'title' AND NOT attisdropped)"
                    " FROM public.tenants n WHERE n.id = %s"
                ).format(
                    schema=Identifier(schema),
                    index=f"{schema}.ix_notes_title",
                    table=f"{schema}.notes",
                ),
                [self.tenants[name]],
            ).fetchone()
        assert row is not None
        found, catalog, index, column = row
        assert (found, index, column) == (catalog, found == AFTER, found == AFTER), name
        return str(found)

    def revisions(self) -> dict[str, str]:
        return {name: self.revision(name) for name in self.tenants}

    def owned(self, name: str) -> Any:
        """A transaction as the owner, in the tenant's schema."""
        return self.place.owned(self.tenants[name])

    async def anew(self) -> None:
        """As before the first rollout."""
        with psycopg.connect(self.database.superuser_url) as conn:
            conn.execute("TRUNCATE public.rollouts CASCADE")
            conn.execute("DELETE FROM public.operations")
            conn.execute("DELETE FROM public.rollout_positions")
            conn.execute("DELETE FROM public.tenants WHERE subdomain <> ALL (%s)", [list(NAMES)])
            conn.execute("SET LOCAL session_replication_role = replica")
            conn.execute(
                "UPDATE public.tenants SET state = 'active', revision = %s, tier = 'starter'",
                [BEFORE],
            )
            for tenant in self.tenants.values():
                names = {"schema": Identifier(schema_name(tenant)), "id": str(tenant)}
                conn.execute(_BACK.format(**names))


async def until_one_waits(conn: psycopg.Connection[Any], kind: str = "advisory") -> None:
    """Until somebody wants a lock that somebody else has: WAIT's, or of another kind."""
    async with asyncio.timeout(60):
        while not conn.execute(_WAITING, [kind]).fetchone():  # noqa: ASYNC110  somebody else's session
            await asyncio.sleep(0.02)


# Other tests' databases have such locks as well.
_WAITING = """
SELECT 1 FROM pg_locks l JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
WHERE l.locktype = %s AND l.objid IS NOT DISTINCT FROM CASE l.locktype WHEN 'advisory' THEN 4711 END
  AND NOT l.granted
"""


@asynccontextmanager
async def open_fleet(server: Server, folder: Path) -> AsyncIterator[Fleet]:
    """In a database of its own."""
    with fresh_database(server) as database:
        engine = create_async_engine(
            sqlalchemy_url(database.owner_url),
            pool_size=8,
            connect_args={"prepare_threshold": None},
        )
        place = Place(
            owner_url=database.owner_url,
            app_url=database.app_url,
            superuser_url=database.superuser_url,
            installation=database.installation,
        )
        old = application(folder / "old")
        fleet = Fleet(database, place, engine, old, old, folder)
        fleet.new = fleet.templates("new", ADDS)
        try:
            for name in NAMES:
                fleet.tenants[name] = await place.tenant(old, rows=False)
                await _enter(fleet, name)
            await fleet.anew()
            yield fleet
        finally:
            await engine.dispose()


async def _enter(fleet: Fleet, name: str) -> None:
    await fleet.sql(
        "INSERT INTO public.tenants (id, name, subdomain, state, tier, admin_email, revision)"
        " VALUES (:id, :name, :name, 'active', 'starter', 'ada@acme.test', :revision)",
        id=fleet.tenants[name],
        name=name,
        revision=BEFORE,
    )
