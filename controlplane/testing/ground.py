"""A database of the control plane's, and tenants in it that hold the same keys."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from controlplane.domain.tenants import TenantState
from controlplane.routing import RoutedTenant

BASE_DOMAIN = "example.test"
# A tenant template's folder, or the SQL text that makes and fills a tenant's tables.
Template = Path | str

_FRAME = sql.SQL(
    "CREATE ROLE {tenant} NOLOGIN; GRANT {tenant} TO {app};"
    "CREATE SCHEMA {tenant}; GRANT USAGE ON SCHEMA {tenant} TO {tenant};"
    "SET LOCAL search_path = {tenant}, pg_temp; SET LOCAL app.current_tenant_id = {id};\n"
)
# What a template's revisions say by tenant_table() and grant(), for tables of bare SQL.
_PROTECT = sql.SQL("""
DO $protect$
DECLARE it record;
BEGIN
  FOR it IN SELECT oid::regclass::text AS name, relkind FROM pg_class
            WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'S')
  LOOP
    IF it.relkind = 'S' THEN
      EXECUTE format('GRANT USAGE ON SEQUENCE %s TO %I', it.name, current_schema());
      CONTINUE;
    END IF;
    EXECUTE format('ALTER TABLE %s ADD tenant_id uuid NOT NULL DEFAULT %L CHECK (tenant_id = %L),
      ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', it.name, {id}, {id});
    EXECUTE format('CREATE POLICY tenant_access ON %s USING (true) WITH CHECK (true)', it.name);
    EXECUTE format('CREATE POLICY tenant_rows ON %s AS RESTRICTIVE USING (tenant_id =
      (SELECT NULLIF(current_setting(''app.current_tenant_id'', true), '''')::uuid))', it.name);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %I', it.name, current_schema());
  END LOOP;
END $protect$;
""")
_REGISTER = """
INSERT INTO public.tenants (id, subdomain, name, state, tier, admin_email, revision)
VALUES (%s, %s, %s, %s, %s, 'ada@example.test', %s)
"""


@dataclass(frozen=True)
class Installation:
    """A database with the control plane's public schema; every URL is libpq's form."""

    superuser_url: str = field(repr=False)
    owner_url: str = field(repr=False)
    app_url: str = field(repr=False)
    app_login: str


@dataclass(frozen=True)
class Neighbours:
    """Active tenants of one template, each with the rows that the template gives to all: their
    keys are the same. `app_url` is the app servers' login's."""

    app_url: str = field(repr=False)
    superuser_url: str = field(repr=False)
    tenants: tuple[RoutedTenant, ...]
    base_domain: str = BASE_DOMAIN

    def host(self, tenant: RoutedTenant) -> str:
        return f"{tenant.subdomain}.{self.base_domain}"

    def execute(
        self, statement: str, params: Sequence[Any] = (), *, tenant: RoutedTenant
    ) -> list[tuple[Any, ...]]:
        """Run in the tenant's schema as a superuser, whom nothing holds back, and commit; returns
        the rows, if there are any. `%s` stands for a parameter."""
        with psycopg.connect(self.superuser_url) as conn:
            conn.execute(_path(tenant))
            cursor = conn.execute(statement.encode(), params or None)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def installation(superuser_url: str) -> Iterator[Installation]:
    """A new database with logins of its own on the server; all of it is dropped afterwards."""
    from controlplane.store import logins as made  # noqa: PLC0415  only whoever has no database
    from controlplane.store import migrate  # noqa: PLC0415  slow to import

    name = f"controlplane_test_{secrets.token_hex(8)}"
    logins = made.Logins.named(name)
    owner_url = logins.owner.url(superuser_url, database=name)
    made.create_logins(superuser_url, logins)
    try:
        made.create_database(superuser_url, name, logins)
        migrate.upgrade_public(owner_url)
        made.grant_logins(owner_url, control=logins.control.name, app=logins.app.name)
        within = make_conninfo(superuser_url, dbname=name)
        app_url = logins.app.url(superuser_url, database=name)
        yield Installation(within, owner_url, app_url, logins.app.name)
    finally:
        with psycopg.connect(superuser_url, autocommit=True) as conn:
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            conn.execute(drop.format(sql.Identifier(name)))
            made.drop_logins(conn, logins)


@contextmanager
def neighbours(
    place: Installation, template: Template, *, names: Sequence[str] = ("acme", "globex")
) -> Iterator[Neighbours]:
    """Tenants with these subdomains; their schemas, roles and rows are dropped afterwards.

    Raises TemplateInvalid for a folder that is none, and psycopg.Error for SQL that fails.
    """
    tenants = tuple(
        RoutedTenant(uuid4(), name, name.title(), TenantState.ACTIVE, "starter", "test")
        for name in names
    )
    body = _body(template)
    with psycopg.connect(place.owner_url) as conn:
        for tenant in tenants:
            conn.execute(_REGISTER, _registered(tenant))
            conn.execute(_frame(tenant, place.app_login) + body(tenant))
    try:
        yield Neighbours(place.app_url, place.superuser_url, tenants)
    finally:
        _remove(place, tenants)


def _body(template: Template) -> Callable[[RoutedTenant], bytes]:
    """What makes a tenant's tables, once its schema is on the path."""
    if isinstance(template, str):
        return lambda tenant: template.encode() + b";\n" + _named(_PROTECT, tenant)
    from controlplane.tenancy.compile import compiled  # noqa: PLC0415  alembic is slow to import
    from controlplane.tenancy.template import load  # noqa: PLC0415

    script = compiled(load(template))
    return lambda tenant: script.render(schema=tenant.schema, tenant_id=tenant.id).encode()


def _frame(tenant: RoutedTenant, app_login: str) -> bytes:
    return _named(_FRAME, tenant, app=sql.Identifier(app_login))


def _path(tenant: RoutedTenant) -> bytes:
    return _named(sql.SQL("SET LOCAL search_path = {tenant}, pg_temp"), tenant)


def _named(text: sql.SQL, tenant: RoutedTenant, **more: sql.Composable) -> bytes:
    whole = text.format(
        tenant=sql.Identifier(tenant.schema), id=sql.Literal(str(tenant.id)), **more
    )
    return whole.as_bytes(None)


def _registered(tenant: RoutedTenant) -> list[Any]:
    return [tenant.id, tenant.subdomain, tenant.name, tenant.state, tenant.tier, tenant.revision]


def _remove(place: Installation, tenants: Sequence[RoutedTenant]) -> None:
    with psycopg.connect(place.superuser_url) as conn:
        for tenant in tenants:
            conn.execute(_named(sql.SQL("DROP SCHEMA IF EXISTS {tenant} CASCADE"), tenant))
            conn.execute(_named(sql.SQL("DROP ROLE IF EXISTS {tenant}"), tenant))
        ids = [tenant.id for tenant in tenants]
        conn.execute("DELETE FROM public.tenants WHERE id = ANY(%s)", [ids])
