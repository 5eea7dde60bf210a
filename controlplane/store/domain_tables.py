"""Tenants' own domains: who has claimed which host, and what the last look at its DNS showed."""

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

from controlplane.domain.own_domains import DomainState
from controlplane.store.columns import metadata, now, one_of

# Anybody may claim a host, and whoever proves that it is his has it: so it is unique among the
# verified ones. `points_here` is NULL until somebody looked; `check_at` is NULL once nobody looks
# again by himself. `failing_since` is when a proof that was there was first missed.
tenant_domains = Table(
    "tenant_domains",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=func.gen_random_uuid()),
    Column("tenant_id", ForeignKey("public.tenants.id"), nullable=False),
    Column("host", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=DomainState.PENDING),
    Column("challenge", Text, nullable=False),
    Column("is_primary", Boolean, nullable=False, server_default=text("false")),
    Column("redirects", Boolean, nullable=False, server_default=text("false")),
    Column("points_here", Boolean),
    Column("last_error", JSONB),
    now("created_at"),
    now("verified_at", nullable=True),
    now("failing_since", nullable=True),
    now("checked_at", nullable=True),
    Column("check_at", DateTime(timezone=True), server_default=func.now()),
    one_of("state", DomainState),
    CheckConstraint(r"host ~ '^[a-z0-9-]+(\.[a-z0-9-]+)+$' AND length(host) <= 253", name="host"),
    CheckConstraint("challenge <> ''", name="challenge"),
    CheckConstraint("(verified_at IS NULL) = (state = 'pending')", name="verified_at"),
    CheckConstraint("NOT (is_primary AND redirects)", name="redirects"),
    UniqueConstraint("tenant_id", "host"),
    Index(
        "uq_tenant_domains_host_verified",
        "host",
        unique=True,
        postgresql_where=text("state = 'verified'"),
    ),
    Index(
        "uq_tenant_domains_tenant_primary",
        "tenant_id",
        unique=True,
        postgresql_where=text("is_primary"),
    ),
    Index(None, "check_at", postgresql_where=text("check_at IS NOT NULL")),
)
