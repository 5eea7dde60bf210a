"""Tenants' own domains, and the hosts that app servers may look up"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0008"
down_revision: str | Sequence[str] | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# A tenant's change is a change of each of its hosts.
_TELL_OF_TENANT = """
CREATE OR REPLACE FUNCTION public.tell_tenant_change() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog AS $$
DECLARE names text[];
BEGIN
  SELECT array_agg(DISTINCT name) INTO names FROM (
    SELECT unnest(ARRAY[OLD.subdomain, NEW.subdomain]) AS name
    UNION ALL
    SELECT host FROM public.tenant_domains WHERE tenant_id IN (OLD.id, NEW.id)
  ) AS told WHERE name IS NOT NULL;
  INSERT INTO public.tenant_changes (subdomain) SELECT unnest(names);
  PERFORM pg_notify('controlplane_tenants', name) FROM unnest(names) AS name;
  RETURN NULL;
END $$
"""
_TELL_OF_SUBDOMAIN = """
CREATE OR REPLACE FUNCTION public.tell_tenant_change() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog AS $$
BEGIN
  INSERT INTO public.tenant_changes (subdomain)
  SELECT DISTINCT name FROM unnest(ARRAY[OLD.subdomain, NEW.subdomain]) AS name
  WHERE name IS NOT NULL;
  PERFORM pg_notify('controlplane_tenants', name)
  FROM (SELECT DISTINCT unnest(ARRAY[OLD.subdomain, NEW.subdomain])) AS names (name)
  WHERE name IS NOT NULL;
  RETURN NULL;
END $$
"""
# Where one host redirects to depends on its tenant's other ones, so all are told of.
_TELL_OF_DOMAIN = """
CREATE FUNCTION public.tell_domain_change() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog AS $$
DECLARE names text[];
BEGIN
  SELECT array_agg(DISTINCT name) INTO names FROM (
    SELECT unnest(ARRAY[OLD.host, NEW.host]) AS name
    UNION ALL
    SELECT host FROM public.tenant_domains WHERE tenant_id IN (OLD.tenant_id, NEW.tenant_id)
  ) AS told WHERE name IS NOT NULL;
  INSERT INTO public.tenant_changes (subdomain) SELECT unnest(names);
  PERFORM pg_notify('controlplane_tenants', name) FROM unnest(names) AS name;
  RETURN NULL;
END $$
"""
_AFTER_UPDATE = """
CREATE TRIGGER domain_told AFTER UPDATE ON public.tenant_domains FOR EACH ROW
WHEN ((OLD.host, OLD.tenant_id, OLD.state, OLD.is_primary, OLD.redirects)
  IS DISTINCT FROM (NEW.host, NEW.tenant_id, NEW.state, NEW.is_primary, NEW.redirects))
EXECUTE FUNCTION public.tell_domain_change()
"""
_AFTER_THE_REST = """
CREATE TRIGGER domain_told_of_row AFTER INSERT OR DELETE ON public.tenant_domains FOR EACH ROW
EXECUTE FUNCTION public.tell_domain_change()
"""
# What an app server's login may see: verified hosts, their tenants, and where else to send people.
_VIEW = """
CREATE VIEW public.tenant_hosts AS
SELECT d.host, t.id, t.subdomain, t.name, t.state, t.tier, t.revision,
  CASE WHEN d.redirects THEN p.host END AS moved_to
FROM public.tenant_domains d
JOIN public.tenants t ON t.id = d.tenant_id
LEFT JOIN public.tenant_domains p
  ON p.tenant_id = d.tenant_id AND p.is_primary AND p.state = 'verified'
WHERE d.state = 'verified' AND t.state NOT IN ('failed', 'purged')
"""
# Servers that run already go on while this is done. New logins are granted the same by
# `controlplane migrate`.
_GRANT = """
DO $$
DECLARE given record;
BEGIN
  FOR given IN
    SELECT DISTINCT grantee, table_name FROM information_schema.role_table_grants
    WHERE table_schema = 'public' AND grantee NOT IN (current_user, 'PUBLIC')
      AND (table_name, privilege_type) IN (('tenants', 'UPDATE'), ('tenant_registry', 'SELECT'))
  LOOP
    IF given.table_name = 'tenants' THEN
      EXECUTE format(
        'GRANT SELECT, INSERT, UPDATE, DELETE ON public.tenant_domains TO %I', given.grantee);
    ELSE
      EXECUTE format('GRANT SELECT ON public.tenant_hosts TO %I', given.grantee);
    END IF;
  END LOOP;
END $$
"""


def upgrade() -> None:
    op.create_table(
        "tenant_domains",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("challenge", sa.Text(), nullable=False),
        sa.Column("is_primary", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("redirects", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("points_here", sa.Boolean(), nullable=True),
        sa.Column("last_error", postgresql.JSONB(), nullable=True),
        _moment("created_at", server_default=sa.func.now(), nullable=False),
        _moment("verified_at", nullable=True),
        _moment("failing_since", nullable=True),
        _moment("checked_at", nullable=True),
        _moment("check_at", server_default=sa.func.now(), nullable=True),
        sa.CheckConstraint("state IN ('pending', 'verified', 'lost')", name="state"),
        sa.CheckConstraint(
            r"host ~ '^[a-z0-9-]+(\.[a-z0-9-]+)+$' AND length(host) <= 253", name="host"
        ),
        sa.CheckConstraint("challenge <> ''", name="challenge"),
        sa.CheckConstraint("(verified_at IS NULL) = (state = 'pending')", name="verified_at"),
        sa.CheckConstraint("NOT (is_primary AND redirects)", name="redirects"),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["public.tenants.id"], name=op.f("fk_tenant_domains_tenant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenant_domains")),
        sa.UniqueConstraint("tenant_id", "host", name=op.f("uq_tenant_domains_tenant_id")),
        schema="public",
    )
    _index("uq_tenant_domains_host_verified", "host", "state = 'verified'", unique=True)
    _index("uq_tenant_domains_tenant_primary", "tenant_id", "is_primary", unique=True)
    _index("ix_tenant_domains_check_at", "check_at", "check_at IS NOT NULL", unique=False)
    for statement in (
        *(_TELL_OF_TENANT, _TELL_OF_DOMAIN, _AFTER_UPDATE, _AFTER_THE_REST, _VIEW, _GRANT),
    ):
        op.execute(statement)


def _moment(name: str, **how: object) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), **how)  # type: ignore[arg-type]  # passed on


def _index(name: str, column: str, rows: str, *, unique: bool) -> None:
    op.create_index(
        name,
        "tenant_domains",
        [column],
        unique=unique,
        schema="public",
        postgresql_where=sa.text(rows),
    )


def downgrade() -> None:
    op.execute("DROP VIEW public.tenant_hosts")
    op.execute(_TELL_OF_SUBDOMAIN)
    op.drop_table("tenant_domains", schema="public")
    op.execute("DROP FUNCTION public.tell_domain_change()")
