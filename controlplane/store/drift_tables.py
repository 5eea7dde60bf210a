"""What a worker saw when it compared what there is with the rows, and schemas with the template."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from controlplane.store.columns import metadata

# `begun_at` claims the look for a while; `looked_at` is when the newest that came to its end began.
structure_look = Table(
    "structure_look",
    metadata,
    Column("singleton", Boolean, primary_key=True, server_default=text("true")),
    Column("begun_at", DateTime(timezone=True), nullable=False),
    Column("looked_at", DateTime(timezone=True)),
    Column("revision", Text),
    Column("compared", Integer, nullable=False, server_default=text("0")),
    Column("behind", Integer, nullable=False, server_default=text("0")),
    Column("drifted", Integer, nullable=False, server_default=text("0")),
    CheckConstraint("singleton", name="singleton"),
)

# `differences` is empty for a tenant of whom only the admin is missing.
structure_drift = Table(
    "structure_drift",
    metadata,
    Column("tenant_id", ForeignKey("public.tenants.id", ondelete="CASCADE"), primary_key=True),
    Column("differences", JSONB, nullable=False),
    Column("lacks_admin", Boolean, nullable=False),
    Column("first_seen_at", DateTime(timezone=True), nullable=False),
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
