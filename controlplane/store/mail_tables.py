"""Mail to be sent, and what became of it."""

from sqlalchemy import (
    BigInteger,
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

from controlplane.domain.mail import DeliveryState
from controlplane.store.columns import metadata, now, one_of
from controlplane.store.operation_tables import operations
from controlplane.store.tenant_tables import tenants

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
