"""The structure of tenants' schemas: alike where nobody meddled, told apart and mended where he did."""

from dataclasses import dataclass
from uuid import UUID

import pytest
from psycopg.sql import SQL, Composable, Identifier
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from controlplane.domain.naming import schema_name
from controlplane.domain.structure import differences
from controlplane.domain.structure_repair import repair_plan
from controlplane.tenancy.structure import Reference, facts, fingerprints, reference
from controlplane.tenancy.template import load
from tests.database import fresh_database
from tests.integration.tenancy.places import Place

pytestmark = pytest.mark.anyio
near = pytest.mark.database_near


@dataclass
class Bench:
    place: Place
    ours: Reference
    tenant_id: UUID
    neighbour: UUID

    def meddle(self, statement):
        """As the superuser, who may do everything."""
        with self.place.superuser() as connection:
            foreign = next(f for f in self.ours.facts if f.key[:2] == ("foreign key", "user_roles"))
            names = {
                "schema": schema_name(self.tenant_id),
                "foreign": foreign.name,
                "app": self.place.app_login,
                "superuser": connection.info.user,
            }
            quoted: dict[str, Composable] = {n: Identifier(v) for n, v in names.items()}
            quoted["noop"] = SQL("suppress_redundant_updates_trigger")
            connection.execute(SQL(statement).format(**quoted))

    async def apart(self, tenant_id=None):
        schema = schema_name(tenant_id or self.tenant_id)
        async with self.place.owner() as conn:
            found = (await facts(conn, [schema]))[schema]
            printed = (await fingerprints(conn, [schema]))[schema]
        apart = differences(self.ours.facts, found)
        assert (printed == self.ours.fingerprint) is not bool(apart)
        return apart

    def mend(self, apart, *, removals=True):
        plan = repair_plan(
            apart,
            schema=schema_name(self.tenant_id),
            tenant_id=self.tenant_id,
            owner=self.place.owner_login,
            removals=removals,
        )
        with self.place.superuser() as connection:
            for statement in plan:
                connection.execute(statement)
        return plan


@pytest.fixture(scope="module")
async def bench(server):
    """Two tenants; whoever changes one of them mends it."""
    with fresh_database(server) as database:
        place = Place(
            owner_url=database.owner_url,
            app_url=database.app_url,
            superuser_url=database.superuser_url,
            installation=database.installation,
        )
        template = load()
        driven = make_url(place.owner_url).set(drivername="postgresql+psycopg")
        engine = create_async_engine(driven)
        try:
            ours = await reference(
                engine,
                installation=place.installation,
                app_login=place.app_login,
                template=template,
            )
        finally:
            await engine.dispose()
        yield Bench(place, ours, *[await place.tenant(template) for _ in range(2)])


@near
async def test_every_tenant_is_like_the_reference_of_which_nothing_stays(bench):
    assert await bench.apart() == []
    assert await bench.apart(bench.neighbour) == []
    assert len(bench.ours.facts) > 100
    with bench.place.superuser() as connection:
        rows = connection.execute("SELECT FROM pg_namespace WHERE nspname LIKE 'tenant\\_%'")
        assert rows.rowcount == 2


@near
async def test_five_changes_by_hand_are_told_in_words_and_mended(bench):
    for statement in (
        "DROP INDEX {schema}.ix_users_email_key",
        "ALTER TABLE {schema}.users ALTER COLUMN state SET DEFAULT 'gone'",
        "CREATE TABLE {schema}.notes (id int PRIMARY KEY, said text NOT NULL)",
        "ALTER TABLE {schema}.roles NO FORCE ROW LEVEL SECURITY",
        "REVOKE INSERT ON {schema}.settings FROM {schema}",
    ):
        bench.meddle(statement)
    apart = await bench.apart()
    assert [str(one) for one in apart] == [
        "+ table notes: plain",
        "~ default state of users: is 'gone'::text; should be 'active'::text",
        (
            "- index ix_users_email_key of users: CREATE INDEX ix_users_email_key"
            " ON __schema__.users USING btree (email_key)"
        ),
        "~ row security roles: is enabled, not forced; should be enabled, forced",
        (
            "~ grant __schema__ of settings: is DELETE, SELECT, UPDATE;"
            " should be DELETE, INSERT, SELECT, UPDATE"
        ),
    ]
    assert await bench.apart(bench.neighbour) == []
    plan = bench.mend(apart)
    assert plan[-1].startswith("DROP TABLE")
    assert await bench.apart() == []


MEDDLING = [
    "ALTER TABLE {schema}.users ADD COLUMN nick text",
    "ALTER TABLE {schema}.users DROP COLUMN metadata",
    "ALTER TABLE {schema}.users ALTER COLUMN name TYPE varchar(300)",
    "ALTER TABLE {schema}.users ALTER COLUMN email DROP NOT NULL",
    "ALTER TABLE {schema}.roles ALTER COLUMN rank DROP DEFAULT",
    "ALTER TABLE {schema}.users ALTER COLUMN name SET DEFAULT 'x'",
    "ALTER TABLE {schema}.users ADD CONSTRAINT longer CHECK (length(email) > 2)",
    "ALTER TABLE {schema}.user_roles DROP CONSTRAINT {foreign}",
    "ALTER TABLE {schema}.users DISABLE ROW LEVEL SECURITY",
    "DROP POLICY tenant_rows ON {schema}.users",
    "ALTER POLICY tenant_rows ON {schema}.users USING (true)",
    "CREATE POLICY everybody ON {schema}.users USING (true)",
    "CREATE INDEX more ON {schema}.users (name)",
    "CREATE VIEW {schema}.seen WITH (security_invoker = true) AS SELECT id FROM {schema}.users",
    "CREATE MATERIALIZED VIEW {schema}.seen AS SELECT id FROM {schema}.users",
    "CREATE SEQUENCE {schema}.numbers",
    "CREATE TYPE {schema}.mood AS ENUM ('ok', 'sad')",
    "CREATE FUNCTION {schema}.one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE STATISTICS {schema}.more ON email, name FROM {schema}.users",
    "GRANT TRUNCATE ON {schema}.users TO {schema} WITH GRANT OPTION",
    "GRANT SELECT ON {schema}.users TO PUBLIC",
    "GRANT UPDATE (email) ON {schema}.users TO {app}",
    "GRANT CREATE ON SCHEMA {schema} TO {schema}",
    "REVOKE USAGE ON SCHEMA {schema} FROM {schema}",
    "ALTER TABLE {schema}.users OWNER TO {superuser}",
    "CREATE TRIGGER t BEFORE UPDATE ON {schema}.users FOR EACH ROW EXECUTE FUNCTION {noop}()",
]


@pytest.mark.parametrize("statement", MEDDLING)
async def test_whatever_is_changed_by_hand_is_told_of_that_tenant_alone_and_mended(
    bench, statement
):
    bench.meddle(statement)
    apart = await bench.apart()
    assert apart
    assert await bench.apart(bench.neighbour) == []
    bench.mend(apart)
    assert await bench.apart() == []


async def test_without_removals_the_plan_takes_nothing_away(bench):
    bench.meddle("CREATE TABLE {schema}.notes (id int)")
    apart = await bench.apart()
    (line,) = bench.mend(apart, removals=False)
    assert line.startswith("-- not done: DROP TABLE")
    assert await bench.apart() == apart
    bench.mend(apart)
