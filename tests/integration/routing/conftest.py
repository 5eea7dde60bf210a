"""A world of its own: a registry, two tenants with the same keys, and the app servers' login."""

import functools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg_pool import AsyncConnectionPool

from controlplane.domain.tenants import TenantState
from controlplane.routing import RoutedTenant, Tenancy
from tests.database import Server
from tests.integration.routing.seen import SEEN_AS

_REGISTRY = """
    CREATE TABLE public.tenants (
        id uuid PRIMARY KEY, subdomain text UNIQUE, name text, state text, tier text, revision text
    );
    CREATE VIEW public.tenant_registry AS
        SELECT id, subdomain, name, state, tier, revision FROM public.tenants;
    CREATE TABLE public.tenant_changes (
        changed_in bigint DEFAULT (pg_current_xact_id()::text::bigint), subdomain text
    );
    CREATE VIEW public.tenant_registry_changes AS SELECT * FROM public.tenant_changes;
    CREATE FUNCTION public.tell_tenant_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO public.tenant_changes (subdomain)
            SELECT name FROM unnest(ARRAY[OLD.subdomain, NEW.subdomain]) AS name
            WHERE name IS NOT NULL;
        PERFORM pg_notify('controlplane_tenants', name)
            FROM unnest(ARRAY[OLD.subdomain, NEW.subdomain]) AS name WHERE name IS NOT NULL;
        RETURN NULL;
    END $$;
    CREATE TRIGGER told AFTER INSERT OR UPDATE OR DELETE ON public.tenants
        FOR EACH ROW EXECUTE FUNCTION public.tell_tenant_change();
    REVOKE ALL ON SCHEMA public FROM PUBLIC;
    GRANT USAGE ON SCHEMA public TO {app};
    GRANT SELECT ON public.tenant_registry, public.tenant_registry_changes TO {app};
"""
_TENANT = """
    CREATE ROLE {tenant} NOLOGIN;
    GRANT {tenant} TO {app};
    CREATE SCHEMA {tenant};
    GRANT USAGE ON SCHEMA {tenant} TO {tenant};
    CREATE TABLE {tenant}.notes (id int PRIMARY KEY, body text NOT NULL);
    GRANT SELECT, INSERT, UPDATE, DELETE ON {tenant}.notes TO {tenant};
    INSERT INTO {tenant}.notes VALUES (1, {body});
"""

Superuser = psycopg.Connection[tuple[object, ...]]


@dataclass(frozen=True)
class World:
    """`admin` is the superuser's conninfo, `app` the app servers'."""

    admin: str = field(repr=False)
    app: str = field(repr=False)
    login: str
    acme: RoutedTenant
    globex: RoutedTenant
    superuser: Superuser = field(repr=False)

    def do(self, query: str, **names: str) -> list[tuple[object, ...]]:
        """Run as the superuser; names become identifiers. Returns the rows, if there are any."""
        named = {key: sql.Identifier(name) for key, name in names.items()}
        cursor = self.superuser.execute(sql.SQL(query).format(**named))
        return cursor.fetchall() if cursor.description else []

    def add(self, subdomain: str, state: str) -> RoutedTenant:
        """A registered tenant without a schema."""
        tenant = RoutedTenant(
            uuid4(), subdomain, subdomain.title(), TenantState(state), "starter", "abc"
        )
        _register(self.superuser, tenant)
        return tenant

    @property
    def database(self) -> str:
        return str(conninfo_to_dict(self.admin)["dbname"])

    def disconnect(self) -> None:
        """End every other connection to the database, and wait for it."""
        self.do(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )

    def notes(self, tenant: RoutedTenant) -> list[str]:
        """What is in the tenant's table, seen from outside."""
        rows = self.do("SELECT body FROM {tenant}.notes ORDER BY id", tenant=tenant.schema)
        return [str(body) for (body,) in rows]


def _register(superuser: Superuser, tenant: RoutedTenant) -> None:
    superuser.execute(
        "INSERT INTO public.tenants VALUES (%s, %s, %s, %s, %s, %s)",
        [tenant.id, tenant.subdomain, tenant.name, tenant.state, tenant.tier, tenant.revision],
    )


def _create_tenant(superuser: Superuser, app: str, tenant: RoutedTenant) -> None:
    _register(superuser, tenant)
    superuser.execute(
        sql.SQL(_TENANT).format(
            tenant=sql.Identifier(tenant.schema),
            app=sql.Identifier(app),
            body=sql.Literal(tenant.subdomain),
        )
    )


@pytest.fixture(scope="session")
def superuser(server: Server) -> Iterator[Superuser]:
    """A connection to a database without migrations, for the tests of this folder and this worker alone."""
    name = f"routing_{uuid4().hex}"
    create, drop = (
        sql.SQL(text).format(sql.Identifier(name))
        for text in ("CREATE DATABASE {}", "DROP DATABASE {} WITH (FORCE)")
    )
    with psycopg.connect(server.superuser_url, autocommit=True) as conn:
        conn.execute(create)
        url = make_conninfo(server.superuser_url, dbname=name)
        with psycopg.connect(url, autocommit=True) as opened:
            yield opened
        conn.execute(drop)


@pytest.fixture
def world(server: Server, superuser: Superuser) -> Iterator[World]:
    # Roles outlive databases and are seen in all of them: their names are never used again.
    login = f"app_{uuid4().hex}"
    admin = make_conninfo(server.superuser_url, dbname=superuser.info.dbname)
    app = make_conninfo(admin, user=login, password="secret")  # noqa: S106  a throw-away login
    acme, globex = (
        RoutedTenant(uuid4(), name, name.title(), TenantState.ACTIVE, "starter", "abc")
        for name in ("acme", "globex")
    )
    world = World(admin, app, login, acme, globex, superuser)
    world.do("CREATE ROLE {app} LOGIN NOINHERIT PASSWORD 'secret'", app=login)
    world.do("DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public;" + _REGISTRY, app=login)
    world.do("GRANT TEMPORARY ON DATABASE {name} TO PUBLIC", name=world.database)
    world.do("GRANT EXECUTE ON FUNCTION pg_catalog.set_config TO PUBLIC")
    for tenant in (acme, globex):
        _create_tenant(superuser, login, tenant)
    yield world
    # A query whose client was cancelled twice runs on, with its locks.
    world.disconnect()
    for role in (acme.schema, globex.schema, login):
        if world.do(f"SELECT 1 FROM pg_roles WHERE rolname = '{role}'"):  # noqa: S608  our own name
            world.do("DROP OWNED BY {role} CASCADE; DROP ROLE {role}", role=role)
    world.do("DROP SCHEMA IF EXISTS {a}, {b} CASCADE", a=acme.schema, b=globex.schema)


@pytest.fixture
async def pool(world: World) -> AsyncIterator[AsyncConnectionPool]:
    """One connection, opened as psycopg opens it by default."""
    async with AsyncConnectionPool(world.app, min_size=1, max_size=1, open=False) as pool:
        yield pool


@pytest.fixture(params=[True, False], ids=["pipelined", "plain"])
def tenancy_on(request):
    """Makes a Tenancy of either form: they keep the same promises."""
    return functools.partial(Tenancy, pipelined=request.param)


@pytest.fixture
async def clean(pool, world):
    """Afterwards the pool's only connection is as it was at first."""
    yield
    async with pool.connection() as conn:
        assert conn.info.transaction_status == TransactionStatus.IDLE
        assert conn.info.pipeline_status == PipelineStatus.OFF
        assert conn.cursor_factory is psycopg.AsyncCursor
        assert await (await conn.execute(SEEN_AS)).fetchone() == (
            '"$user", public',
            world.login,
            "",
        )
