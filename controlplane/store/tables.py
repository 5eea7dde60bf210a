"""The public schema. Alembic's target; every state is checked by the database itself.

`timestamptz` everywhere. No name here may recur in a tenant's schema: a search path that names a
missing schema would silently read this one.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    Computed,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from controlplane.domain.mail import DeliveryState
from controlplane.domain.operations import OperationState, StepState
from controlplane.domain.tenants import RELEASED, HoldReason, TenantState, Tier
from controlplane.store import (
    admin_tables,
    domain_tables,
    drift_tables,
    ratelimit_tables,
    rollout_tables,
    warm_tables,
)
from controlplane.store.columns import now, one_of

# With the admins' tables, the counters and the tenants' domains: all that there are.
metadata = admin_tables.global_users.metadata
rate_counts = ratelimit_tables.rate_counts
tenant_domains = domain_tables.tenant_domains
rollouts = rollout_tables.rollouts
structure_look = drift_tables.structure_look
warm_schemas = warm_tables.warm_schemas


def _released() -> ColumnElement[bool]:
    listed = ", ".join(f"'{state}'" for state in sorted(RELEASED))
    return text(f"state NOT IN ({listed})")  # type: ignore[return-value]  # Index takes text too


# Made by the first migration; what is ours carries this id in its mark.
installation = Table(
    "installation",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=func.gen_random_uuid()),
    Column("singleton", Boolean, nullable=False, server_default=text("true")),
    now("created_at"),
    CheckConstraint("singleton", name="singleton"),
    UniqueConstraint("singleton"),
)

tenants = Table(
    "tenants",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("subdomain", Text, nullable=False),
    Column(
        "schema_name",
        Text,
        Computed("'tenant_' || replace(id::text, '-', '')", persisted=True),
        nullable=False,
    ),
    Column("state", Text, nullable=False),
    Column("tier", Text, nullable=False),
    Column("admin_email", Text, nullable=False),
    Column("admin_name", Text),
    Column("revision", Text),
    Column("version", BigInteger, nullable=False, server_default=text("1")),
    Column("metadata", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("conditions", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    now("created_at"),
    now("updated_at"),
    now("deleted_at", nullable=True),
    one_of("state", TenantState),
    one_of("tier", Tier),
    CheckConstraint("subdomain ~ '^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$'", name="subdomain"),
    CheckConstraint("name <> '' AND name !~ '[[:cntrl:]]'", name="name"),
    UniqueConstraint("schema_name"),
    Index("uq_tenants_subdomain_held", "subdomain", unique=True, postgresql_where=_released()),
    Index("ix_tenants_created_at_id", "created_at", "id"),
    Index("ix_tenants_state", "state"),
)

system_config = Table(
    "system_config",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", JSONB, nullable=False),
    Column("value_type", Text, nullable=False),
    Column("is_secret", Boolean, nullable=False, server_default=text("false")),
    Column("description", Text, nullable=False, server_default=""),
    now("updated_at"),
    CheckConstraint("value_type IN ('string', 'integer', 'boolean')", name="value_type"),
)

operations = Table(
    "operations",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("tenant_id", ForeignKey(tenants.c.id), nullable=False),
    Column("kind", Text, nullable=False),
    Column("plan", JSONB, nullable=False),
    Column("plan_version", Integer, nullable=False),
    Column("params", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("state", Text, nullable=False, server_default=OperationState.PENDING),
    Column("error", JSONB),
    Column("requested_by", Uuid),
    Column("cancel_requested_at", DateTime(timezone=True)),
    Column("deadline_at", DateTime(timezone=True), nullable=False),
    # clock_timestamp(): now() is the start of the transaction, a moment that others cannot see.
    Column(
        "run_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()
    ),
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    Column("lease_owner", Text),
    Column("lease_expires_at", DateTime(timezone=True)),
    Column("epoch", BigInteger, nullable=False, server_default=text("0")),
    Column("event_seq", BigInteger, nullable=False, server_default=text("0")),
    now("created_at"),
    now("finished_at", nullable=True),
    Column("abandon_reason", Text),
    Column("abandon_comment", Text),
    Column("abandoned_by", Text),
    one_of("state", OperationState),
    CheckConstraint(
        "(finished_at IS NOT NULL) = (state IN ('succeeded', 'failed', 'cancelled', 'abandoned'))",
        name="finished",
    ),
    CheckConstraint(
        "(state = 'abandoned') = (abandon_reason IS NOT NULL AND abandon_comment IS NOT NULL"
        " AND abandoned_by IS NOT NULL)",
        name="abandoned",
    ),
    Index(
        "uq_operations_live", "tenant_id", unique=True, postgresql_where=text("finished_at IS NULL")
    ),
    Index(
        "ix_operations_runnable",
        "run_at",
        postgresql_where=text("state IN ('pending', 'running', 'unwinding')"),
    ),
    Index("ix_operations_parked", "run_at", postgresql_where=text("state = 'parked'")),
    Index("ix_operations_tenant_id", "tenant_id", "created_at"),
    Index("ix_operations_created_at_id", "created_at", "id"),
)

operation_steps = Table(
    "operation_steps",
    metadata,
    Column("operation_id", ForeignKey(operations.c.id, ondelete="CASCADE"), primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=StepState.PENDING),
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    Column("undo_attempt", Integer, nullable=False, server_default=text("0")),
    Column("output", JSONB),
    Column("last_error", JSONB),
    Column("epoch", BigInteger),
    now("started_at", nullable=True),
    now("finished_at", nullable=True),
    one_of("state", StepState),
    UniqueConstraint("operation_id", "name"),
)

operation_events = Table(
    "operation_events",
    metadata,
    Column("operation_id", ForeignKey(operations.c.id, ondelete="CASCADE"), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("epoch", BigInteger, nullable=False),
    Column("step", Text),
    Column("type", Text, nullable=False),
    Column("data", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
)

# What a tenant has outside its row. It cannot become purged while any of it remains.
tenant_resources = Table(
    "tenant_resources",
    metadata,
    Column("tenant_id", ForeignKey(tenants.c.id), primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("external_id", Text, primary_key=True),
    Column("operation_id", ForeignKey(operations.c.id), nullable=False),
    now("created_at"),
    Index(None, "operation_id"),
    Index("ix_tenant_resources_kind_external_id", "kind", "external_id"),
)

# Appended to by triggers on `tenants`; the number is the transaction's, so that a reader's snapshot
# tells below which one he has seen all.
tenant_changes = Table(
    "tenant_changes",
    metadata,
    Column(
        "changed_in",
        BigInteger,
        nullable=False,
        server_default=text("(pg_current_xact_id()::text::bigint)"),
    ),
    Column("subdomain", Text, nullable=False),
    Column(
        "at",
        DateTime(timezone=True),
        nullable=False,
        server_default=func.clock_timestamp(),
    ),
    Index(None, "changed_in"),
    Index(None, "at"),
)

# Names that nobody but this tenant may claim, although it does not have them (any more, or yet).
subdomain_holds = Table(
    "subdomain_holds",
    metadata,
    Column("subdomain", Text, primary_key=True),
    Column("why", Text, primary_key=True),
    Column("tenant_id", ForeignKey(tenants.c.id), nullable=False),
    Column("until", DateTime(timezone=True)),
    now("created_at"),
    one_of("why", HoldReason),
    CheckConstraint("(until IS NULL) = (why = 'rename')", name="until"),
    Index(None, "tenant_id"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("principal", Uuid, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("operation_id", ForeignKey(operations.c.id, ondelete="CASCADE"), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Index(None, "operation_id"),
    Index(None, "expires_at"),
)

# Template and context of a mail; neither the rendered mail nor its token is ever stored.
email_deliveries = Table(
    "email_deliveries",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=func.gen_random_uuid()),
    Column("tenant_id", ForeignKey(tenants.c.id), nullable=False),
    Column("operation_id", ForeignKey(operations.c.id), nullable=False),
    Column("template", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("context", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("state", Text, nullable=False, server_default=DeliveryState.QUEUED),
    Column("provider_id", Text),
    Column("message_id", Text),
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    Column("last_error", JSONB),
    Column(
        "run_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()
    ),
    Column("give_up_at", DateTime(timezone=True), nullable=False),
    Column("lease_expires_at", DateTime(timezone=True)),
    Column("epoch", BigInteger, nullable=False, server_default=text("0")),
    now("created_at"),
    now("sent_at", nullable=True),
    Column("delivered_at", DateTime(timezone=True)),
    one_of("state", DeliveryState),
    CheckConstraint(
        "(sent_at IS NOT NULL) = (state IN ('sent', 'bounced', 'complained'))", name="sent"
    ),
    UniqueConstraint("operation_id", "template"),
    Index(None, "tenant_id"),
    Index(
        "ix_email_deliveries_due", "run_at", postgresql_where=text("state IN ('queued', 'sending')")
    ),
    Index(None, "provider_id", postgresql_where=text("provider_id IS NOT NULL")),
    Index(None, "message_id", postgresql_where=text("message_id IS NOT NULL")),
    Index(None, "recipient", postgresql_where=text("sent_at IS NOT NULL")),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=func.gen_random_uuid()),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("actor", Uuid),
    Column("actor_kind", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("tenant_id", ForeignKey(tenants.c.id)),
    Column("target", Text),
    Column("outcome", Text, nullable=False),
    Column("before", JSONB),
    Column("after", JSONB),
    Column("request_id", Text),
    Column("ip", Text),
    Column("agent", Text),
    CheckConstraint("actor_kind IN ('admin', 'operation', 'cli', 'visitor')", name="actor_kind"),
    CheckConstraint("outcome IN ('ok', 'refused', 'failed')", name="outcome"),
    Index(None, "tenant_id"),
    Index("ix_audit_log_at_id", "at", "id"),
)

# What the newest look of a worker found. No foreign key: a finding's tenant may never have been.
drift_findings = Table(
    "drift_findings",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=func.gen_random_uuid()),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("tenant_id", Uuid, nullable=False),
    Column("detail", Text, nullable=False),
    Column("first_seen_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("kind", "subject", "tenant_id"),
    Index("ix_drift_findings_first_seen_at_id", "first_seen_at", "id"),
)

drift_look = Table(
    "drift_look",
    metadata,
    Column("singleton", Boolean, primary_key=True, server_default=text("true")),
    Column("looked_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("singleton", name="singleton"),
)
