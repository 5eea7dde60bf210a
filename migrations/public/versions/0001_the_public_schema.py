"""The public schema"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0001"
down_revision: str | Sequence[str] | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


TABLES = (
    "global_users",
    "installation",
    "system_config",
    "tenants",
    "api_tokens",
    "audit_log",
    "operations",
    "email_deliveries",
    "idempotency_keys",
    "operation_events",
    "operation_steps",
    "tenant_resources",
)

# The state machines of the design, held by the database whatever a worker believes.
_CHECK = """
CREATE FUNCTION public.check_{name}_change() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog AS $$
BEGIN
  IF NOT (OLD.state || '>' || NEW.state) = ANY ({allowed}) THEN
    RAISE EXCEPTION '{name} % may not go from % to %', {key}, OLD.state, NEW.state
      USING ERRCODE = 'check_violation', CONSTRAINT = 'ck_{name}_transition';
  END IF;
  RETURN NULL;
END $$
"""


def _array(*values: str) -> str:
    listed = ", ".join(f"'{value}'" for value in values)
    return f"ARRAY[{listed}]::text[]"


def _trigger(name: str, table: str, *closed: str) -> str:
    # AFTER: a BEFORE trigger would make every update recompute the generated key column, and so
    # lock the row against the foreign keys that point to it.
    return (
        f"CREATE TRIGGER {name}_change AFTER UPDATE ON public.{table} FOR EACH ROW"
        f" WHEN (OLD.state <> NEW.state OR OLD.state = ANY ({_array(*closed)}))"
        f" EXECUTE FUNCTION public.check_{name}_change()"
    )


BEYOND_TABLES = (
    _CHECK.format(
        name="step",
        key="OLD.name",
        allowed=_array(
            "pending>started",
            "pending>done",
            "started>done",
            "started>undo_started",
            "started>undone",
            "done>undo_started",
            "done>undone",
            "undo_started>undone",
        ),
    ),
    _CHECK.format(
        name="operation",
        key="OLD.id",
        allowed=_array(
            "pending>running",
            "running>succeeded",
            "running>unwinding",
            "running>parked",
            "unwinding>failed",
            "unwinding>cancelled",
            "unwinding>parked",
            "parked>unwinding",
            "parked>running",
            "parked>abandoned",
        ),
    ),
    _CHECK.format(
        name="tenant",
        key="OLD.id",
        allowed=_array(
            "provisioning>active",
            "provisioning>failed",
            "active>suspended",
            "active>deleting",
            "suspended>active",
            "suspended>deleting",
            "deleting>deleted",
            "deleting>active",
            "deleting>suspended",
            "deleted>active",
            "deleted>purging",
            "purging>purged",
            "failed>provisioning",
            "failed>purged",
        ),
    ),
    _trigger("step", "operation_steps", "undone"),
    _trigger("operation", "operations", "succeeded", "failed", "cancelled", "abandoned"),
    _trigger("tenant", "tenants", "purged"),
    # All that an app server's login may see: who holds which subdomain, and in what state.
    """
    CREATE VIEW public.tenant_registry AS
    SELECT id, subdomain, name, state, tier, revision FROM public.tenants
    WHERE state NOT IN ('failed', 'purged')
    """,
    "REVOKE ALL ON SCHEMA public FROM PUBLIC",
    "INSERT INTO public.installation DEFAULT VALUES",
    """
    INSERT INTO public.system_config (key, value, value_type, description) VALUES
    ('default_subscription_tier', '"starter"', 'string', 'Tier of a tenant that names none')
    """,
)


def upgrade() -> None:
    op.create_table(
        "global_users",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("totp_secret", sa.LargeBinary(), nullable=True),
        sa.Column("totp_enabled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("last_login_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "role IN ('super_admin', 'admin', 'support')", name=op.f("ck_global_users_role")
        ),
        sa.CheckConstraint("state IN ('active', 'disabled')", name=op.f("ck_global_users_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_global_users")),
        schema="public",
    )
    op.create_index(
        "uq_global_users_email",
        "global_users",
        [sa.literal_column("lower(email)")],
        unique=True,
        schema="public",
    )
    op.create_table(
        "installation",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("singleton", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint("singleton", name=op.f("ck_installation_singleton")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation")),
        sa.UniqueConstraint("singleton", name=op.f("uq_installation_singleton")),
        schema="public",
    )
    op.create_table(
        "system_config",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("value_type", sa.Text(), nullable=False),
        sa.Column("is_secret", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "value_type IN ('string', 'integer', 'boolean')",
            name=op.f("ck_system_config_value_type"),
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_system_config")),
        schema="public",
    )
    op.create_table(
        "tenants",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("subdomain", sa.Text(), nullable=False),
        sa.Column(
            "schema_name",
            sa.Text(),
            sa.Computed("'tenant_' || replace(id::text, '-', '')", persisted=True),
            nullable=False,
        ),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("admin_email", sa.Text(), nullable=False),
        sa.Column("admin_name", sa.Text(), nullable=True),
        sa.Column("revision", sa.Text(), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "metadata",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "conditions",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("name <> '' AND name !~ '[[:cntrl:]]'", name=op.f("ck_tenants_name")),
        sa.CheckConstraint(
            "state IN ('provisioning', 'active', 'suspended', 'deleting', 'deleted', 'purging', 'purged', 'failed')",
            name=op.f("ck_tenants_state"),
        ),
        sa.CheckConstraint(
            "subdomain ~ '^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$'", name=op.f("ck_tenants_subdomain")
        ),
        sa.CheckConstraint(
            "tier IN ('starter', 'professional', 'enterprise')", name=op.f("ck_tenants_tier")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenants")),
        sa.UniqueConstraint("schema_name", name=op.f("uq_tenants_schema_name")),
        schema="public",
    )
    op.create_index(
        "ix_tenants_created_at_id", "tenants", ["created_at", "id"], unique=False, schema="public"
    )
    op.create_index("ix_tenants_state", "tenants", ["state"], unique=False, schema="public")
    op.create_index(
        "uq_tenants_subdomain_held",
        "tenants",
        ["subdomain"],
        unique=True,
        schema="public",
        postgresql_where=sa.text("state NOT IN ('failed', 'purged')"),
    )
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column(
            "scopes",
            postgresql.ARRAY(sa.Text()),
            server_default=sa.text("'{}'::text[]"),
            nullable=False,
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["public.global_users.id"],
            name=op.f("fk_api_tokens_user_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_tokens")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_api_tokens_token_hash")),
        schema="public",
    )
    op.create_index(
        op.f("ix_api_tokens_user_id"), "api_tokens", ["user_id"], unique=False, schema="public"
    )
    op.create_table(
        "audit_log",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("actor", sa.Uuid(), nullable=True),
        sa.Column("actor_kind", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=True),
        sa.Column("target", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("before", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("after", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("ip", sa.Text(), nullable=True),
        sa.Column("agent", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "actor_kind IN ('admin', 'operation', 'cli')", name=op.f("ck_audit_log_actor_kind")
        ),
        sa.CheckConstraint(
            "outcome IN ('ok', 'refused', 'failed')", name=op.f("ck_audit_log_outcome")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["public.tenants.id"], name=op.f("fk_audit_log_tenant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
        schema="public",
    )
    op.create_index("ix_audit_log_at_id", "audit_log", ["at", "id"], unique=False, schema="public")
    op.create_index(
        op.f("ix_audit_log_tenant_id"), "audit_log", ["tenant_id"], unique=False, schema="public"
    )
    op.create_table(
        "operations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("plan", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("plan_version", sa.Integer(), nullable=False),
        sa.Column(
            "params",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("requested_by", sa.Uuid(), nullable=True),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "run_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("epoch", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("event_seq", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("abandon_reason", sa.Text(), nullable=True),
        sa.Column("abandon_comment", sa.Text(), nullable=True),
        sa.Column("abandoned_by", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(finished_at IS NOT NULL) = (state IN ('succeeded', 'failed', 'cancelled', 'abandoned'))",
            name=op.f("ck_operations_finished"),
        ),
        sa.CheckConstraint(
            "(state = 'abandoned') = (abandon_reason IS NOT NULL AND abandon_comment IS NOT NULL AND abandoned_by IS NOT NULL)",
            name=op.f("ck_operations_abandoned"),
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'running', 'succeeded', 'unwinding', 'failed', 'cancelled', 'parked', 'abandoned')",
            name=op.f("ck_operations_state"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["public.tenants.id"], name=op.f("fk_operations_tenant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operations")),
        schema="public",
    )
    op.create_index(
        "ix_operations_created_at_id",
        "operations",
        ["created_at", "id"],
        unique=False,
        schema="public",
    )
    op.create_index(
        "ix_operations_parked",
        "operations",
        ["run_at"],
        unique=False,
        schema="public",
        postgresql_where=sa.text("state = 'parked'"),
    )
    op.create_index(
        "ix_operations_runnable",
        "operations",
        ["run_at"],
        unique=False,
        schema="public",
        postgresql_where=sa.text("state IN ('pending', 'running', 'unwinding')"),
    )
    op.create_index(
        "ix_operations_tenant_id",
        "operations",
        ["tenant_id", "created_at"],
        unique=False,
        schema="public",
    )
    op.create_index(
        "uq_operations_live",
        "operations",
        ["tenant_id"],
        unique=True,
        schema="public",
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_table(
        "email_deliveries",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("operation_id", sa.Uuid(), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column(
            "context",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("state", sa.Text(), server_default="queued", nullable=False),
        sa.Column("provider_id", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column(
            "run_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("give_up_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("epoch", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(sent_at IS NOT NULL) = (state IN ('sent', 'bounced'))",
            name=op.f("ck_email_deliveries_sent"),
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'sending', 'sent', 'failed', 'bounced', 'uncertain')",
            name=op.f("ck_email_deliveries_state"),
        ),
        sa.ForeignKeyConstraint(
            ["operation_id"],
            ["public.operations.id"],
            name=op.f("fk_email_deliveries_operation_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["public.tenants.id"], name=op.f("fk_email_deliveries_tenant_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_email_deliveries")),
        sa.UniqueConstraint(
            "operation_id", "template", name=op.f("uq_email_deliveries_operation_id")
        ),
        schema="public",
    )
    op.create_index(
        "ix_email_deliveries_due",
        "email_deliveries",
        ["run_at"],
        unique=False,
        schema="public",
        postgresql_where=sa.text("state IN ('queued', 'sending')"),
    )
    op.create_index(
        op.f("ix_email_deliveries_tenant_id"),
        "email_deliveries",
        ["tenant_id"],
        unique=False,
        schema="public",
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("principal", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("operation_id", sa.Uuid(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["operation_id"],
            ["public.operations.id"],
            name=op.f("fk_idempotency_keys_operation_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("principal", "key", name=op.f("pk_idempotency_keys")),
        schema="public",
    )
    op.create_index(
        op.f("ix_idempotency_keys_expires_at"),
        "idempotency_keys",
        ["expires_at"],
        unique=False,
        schema="public",
    )
    op.create_index(
        op.f("ix_idempotency_keys_operation_id"),
        "idempotency_keys",
        ["operation_id"],
        unique=False,
        schema="public",
    )
    op.create_table(
        "operation_events",
        sa.Column("operation_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.Text(), nullable=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column(
            "data",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["operation_id"],
            ["public.operations.id"],
            name=op.f("fk_operation_events_operation_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("operation_id", "seq", name=op.f("pk_operation_events")),
        schema="public",
    )
    op.create_table(
        "operation_steps",
        sa.Column("operation_id", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("undo_attempt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("output", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("last_error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("epoch", sa.BigInteger(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('pending', 'started', 'done', 'undo_started', 'undone')",
            name=op.f("ck_operation_steps_state"),
        ),
        sa.ForeignKeyConstraint(
            ["operation_id"],
            ["public.operations.id"],
            name=op.f("fk_operation_steps_operation_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("operation_id", "ordinal", name=op.f("pk_operation_steps")),
        sa.UniqueConstraint("operation_id", "name", name=op.f("uq_operation_steps_operation_id")),
        schema="public",
    )
    op.create_table(
        "tenant_resources",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("operation_id", sa.Uuid(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["operation_id"],
            ["public.operations.id"],
            name=op.f("fk_tenant_resources_operation_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["public.tenants.id"], name=op.f("fk_tenant_resources_tenant_id")
        ),
        sa.PrimaryKeyConstraint(
            "tenant_id", "kind", "external_id", name=op.f("pk_tenant_resources")
        ),
        schema="public",
    )
    op.create_index(
        op.f("ix_tenant_resources_operation_id"),
        "tenant_resources",
        ["operation_id"],
        unique=False,
        schema="public",
    )
    for statement in BEYOND_TABLES:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP VIEW public.tenant_registry")
    for table in reversed(TABLES):
        op.drop_table(table, schema="public")
    for name in ("step", "operation", "tenant"):
        op.execute(f"DROP FUNCTION public.check_{name}_change()")
