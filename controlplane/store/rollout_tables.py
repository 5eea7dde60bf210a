"""Rollouts of the tenant template, and the schemas that each has to upgrade."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from controlplane.domain.rollouts import RolloutState, TargetState
from controlplane.store.columns import metadata, now, one_of

# `digest` is the template's: workers of another release leave the rollout alone. `ring` is the one
# under way, which begins at `run_at`; `excused` of its failures were seen by whoever let it go on.
rollouts = Table(
    "rollouts",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("state", Text, nullable=False, server_default=RolloutState.RUNNING),
    Column("revision", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("policy", JSONB, nullable=False),
    Column("max_parallel", Integer, nullable=False),
    Column("ring", Integer, nullable=False, server_default=text("0")),
    Column("excused", Integer, nullable=False, server_default=text("0")),
    Column(
        "run_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()
    ),
    Column("error", JSONB),
    Column("requested_by", Uuid),
    Column("request_key", Text),
    Column("request_mark", LargeBinary),
    Column("singleton", Boolean, nullable=False, server_default=text("true")),
    now("created_at"),
    now("finished_at", nullable=True),
    one_of("state", RolloutState),
    CheckConstraint("max_parallel BETWEEN 1 AND 64", name="max_parallel"),
    CheckConstraint("ring >= 0 AND excused >= 0", name="ring"),
    CheckConstraint("(state = 'halted') = (error IS NOT NULL)", name="halted"),
    CheckConstraint(
        "(finished_at IS NOT NULL) = (state IN ('succeeded', 'incomplete', 'cancelled'))",
        name="finished",
    ),
    CheckConstraint(
        "(request_key IS NULL) = (request_mark IS NULL)"
        " AND (request_key IS NULL OR requested_by IS NOT NULL)",
        name="request",
    ),
    CheckConstraint("singleton", name="singleton"),
    # One at a time, whoever asks.
    Index(
        "uq_rollouts_live", "singleton", unique=True, postgresql_where=text("finished_at IS NULL")
    ),
    Index(
        "uq_rollouts_request",
        "requested_by",
        "request_key",
        unique=True,
        postgresql_where=text("request_key IS NOT NULL"),
    ),
    Index("ix_rollouts_created_at_id", "created_at", "id"),
)

# `error` of a pending one says why it was not upgraded yet, of a skipped one why it never will be.
rollout_targets = Table(
    "rollout_targets",
    metadata,
    Column("rollout_id", ForeignKey(rollouts.c.id, ondelete="CASCADE"), primary_key=True),
    Column("tenant_id", ForeignKey("public.tenants.id"), primary_key=True),
    Column("ring", Integer, nullable=False),
    Column("state", Text, nullable=False, server_default=TargetState.PENDING),
    Column("from_revision", Text),
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    Column(
        "run_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()
    ),
    Column("error", JSONB),
    now("finished_at", nullable=True),
    one_of("state", TargetState),
    CheckConstraint("ring >= 0 AND attempt >= 0", name="ring"),
    CheckConstraint("(finished_at IS NOT NULL) = (state <> 'pending')", name="finished"),
    CheckConstraint("state NOT IN ('failed', 'skipped') OR error IS NOT NULL", name="error"),
    Index(None, "tenant_id"),
    Index(
        "ix_rollout_targets_pending",
        "rollout_id",
        "ring",
        "run_at",
        postgresql_where=text("state = 'pending'"),
    ),
)

# Of revisions that go through a tenant's rows in batches, until they are entered: where the next
# batch begins. It outlives its rollout, and another goes on from there.
rollout_positions = Table(
    "rollout_positions",
    metadata,
    Column("tenant_id", ForeignKey("public.tenants.id", ondelete="CASCADE"), primary_key=True),
    Column("revision", Text, primary_key=True),
    Column("position", JSONB, nullable=False),
    Column("batches", BigInteger, nullable=False, server_default=text("1")),
    now("updated_at"),
    CheckConstraint("batches > 0", name="batches"),
)
