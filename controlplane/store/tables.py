"""The public schema. Alembic's target; every state is checked by the database itself.

`timestamptz` everywhere. No name here may recur in a tenant's schema: a search path that names a
missing schema would silently read this one.
"""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from controlplane.store import (  # noqa: F401  a table is known once its module is imported
    admin_tables,
    columns,
    domain_tables,
    drift_tables,
    mail_tables,
    operation_tables,
    ratelimit_tables,
    rollout_tables,
    tenant_tables,
    warm_tables,
)
from controlplane.store.columns import now

# All that there are, with the installation's own below.
metadata = columns.metadata

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

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=func.gen_random_uuid()),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("actor", Uuid),
    Column("actor_kind", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("tenant_id", ForeignKey(tenant_tables.tenants.c.id)),
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
