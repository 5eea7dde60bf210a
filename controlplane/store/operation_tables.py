"""Operations: their steps, what they told and made, and the keys that they were asked for by."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
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

from controlplane.domain.operations import OperationState, StepState
from controlplane.store.columns import metadata, now, one_of
from controlplane.store.tenant_tables import tenants

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
