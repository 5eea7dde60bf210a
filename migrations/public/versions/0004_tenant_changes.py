"""What app servers ask to learn which tenants have changed"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | Sequence[str] | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Appended to and never updated, so that it makes nobody wait. The number of the transaction, not a
# time or a sequence's: whoever reads with a snapshot can say below which number he has seen all.
_TELL = """
CREATE FUNCTION public.tell_tenant_change() RETURNS trigger LANGUAGE plpgsql
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
_AFTER_UPDATE = """
CREATE TRIGGER tenant_told AFTER UPDATE ON public.tenants FOR EACH ROW
WHEN ((OLD.subdomain, OLD.name, OLD.state, OLD.tier, OLD.revision)
  IS DISTINCT FROM (NEW.subdomain, NEW.name, NEW.state, NEW.tier, NEW.revision))
EXECUTE FUNCTION public.tell_tenant_change()
"""
_AFTER_THE_REST = """
CREATE TRIGGER tenant_told_of_row AFTER INSERT OR DELETE ON public.tenants FOR EACH ROW
EXECUTE FUNCTION public.tell_tenant_change()
"""
# The app servers' login sees views alone.
_VIEW = """
CREATE VIEW public.tenant_registry_changes AS
SELECT changed_in, subdomain FROM public.tenant_changes
"""
# Servers that run already go on while this is done: whoever may change a tenant must be able to
# tell of it from the first moment. New logins are granted the same by `controlplane migrate`.
_GRANT = """
DO $$
DECLARE given record;
BEGIN
  FOR given IN
    SELECT DISTINCT grantee, table_name FROM information_schema.role_table_grants
    WHERE table_schema = 'public' AND grantee <> current_user
      AND (table_name, privilege_type) IN (('tenants', 'UPDATE'), ('tenant_registry', 'SELECT'))
  LOOP
    IF given.table_name = 'tenants' THEN
      EXECUTE format('GRANT INSERT ON public.tenant_changes TO %I', given.grantee);
    ELSE
      EXECUTE format('GRANT SELECT ON public.tenant_registry_changes TO %I', given.grantee);
    END IF;
  END LOOP;
END $$
"""


def upgrade() -> None:
    op.create_table(
        "tenant_changes",
        sa.Column(
            "changed_in",
            sa.BigInteger(),
            server_default=sa.text("(pg_current_xact_id()::text::bigint)"),
            nullable=False,
        ),
        sa.Column("subdomain", sa.Text(), nullable=False),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        schema="public",
    )
    for column in ("changed_in", "at"):
        name = op.f(f"ix_tenant_changes_{column}")
        op.create_index(name, "tenant_changes", [column], unique=False, schema="public")
    for statement in (_TELL, _AFTER_UPDATE, _AFTER_THE_REST, _VIEW, _GRANT):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP VIEW public.tenant_registry_changes")
    op.execute("DROP TRIGGER tenant_told ON public.tenants")
    op.execute("DROP TRIGGER tenant_told_of_row ON public.tenants")
    op.execute("DROP FUNCTION public.tell_tenant_change()")
    op.drop_table("tenant_changes", schema="public")
