"""Tenants, who changed last, and which names are kept for whom."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ColumnElement,
    Computed,
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

from controlplane.domain.tenants import RELEASED, HoldReason, TenantState, Tier
from controlplane.store.columns import metadata, now, one_of


def _released() -> ColumnElement[bool]:
    listed = ", ".join(f"'{state}'" for state in sorted(RELEASED))
    return text(f"state NOT IN ({listed})")  # type: ignore[return-value]  # Index takes text too


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
