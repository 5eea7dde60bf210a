"""Rollouts of the tenant template, and the schemas that each has to upgrade"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0009"
down_revision: str | Sequence[str] | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# The state machines, held by the database whatever a worker believes. The one that every target
# goes through, out of 'pending', is left alone: it may lead anywhere, and there are thousands.
_CHECK = """
CREATE FUNCTION public.check_{name}_change() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog AS $$
BEGIN
  RAISE EXCEPTION '{name} % may not go from % to %', OLD.{key}, OLD.state, NEW.state
    USING ERRCODE = 'check_violation', CONSTRAINT = 'ck_{table}_transition';
END $$
"""
_WHEN = """
CREATE TRIGGER {name}_change AFTER UPDATE ON public.{table} FOR EACH ROW
WHEN (OLD.state <> NEW.state AND NOT (OLD.state || '>' || NEW.state) = ANY ({allowed}))
EXECUTE FUNCTION public.check_{name}_change()
"""
_WHEN_TARGET = """
CREATE TRIGGER rollout_target_change AFTER UPDATE ON public.rollout_targets FOR EACH ROW
WHEN (OLD.state <> NEW.state AND OLD.state <> 'pending'
  AND NOT (OLD.state = 'failed' AND NEW.state = 'pending'))
EXECUTE FUNCTION public.check_rollout_target_change()
"""
_ALLOWED = (
    "ARRAY['running>paused', 'running>halted', 'running>succeeded', 'running>incomplete',"
    " 'running>cancelled', 'paused>running', 'paused>cancelled', 'halted>running',"
    " 'halted>cancelled', 'incomplete>running']::text[]"
)


def upgrade() -> None:
    _rollouts()
    _targets()
    op.execute(_CHECK.format(name="rollout", key="id", table="rollouts"))
    op.execute(_WHEN.format(name="rollout", table="rollouts", allowed=_ALLOWED))
    op.execute(_CHECK.format(name="rollout_target", key="tenant_id", table="rollout_targets"))
    op.execute(_WHEN_TARGET)


def _rollouts() -> None:
    op.create_table(
        "rollouts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), server_default="running", nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("policy", postgresql.JSONB(), nullable=False),
        sa.Column("max_parallel", sa.Integer(), nullable=False),
        sa.Column("ring", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("excused", sa.Integer(), server_default=sa.text("0"), nullable=False),
        _moment("run_at", server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("error", postgresql.JSONB(), nullable=True),
        sa.Column("requested_by", sa.Uuid(), nullable=True),
        sa.Column("request_key", sa.Text(), nullable=True),
        sa.Column("request_mark", sa.LargeBinary(), nullable=True),
        sa.Column("singleton", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        _moment("created_at", server_default=sa.text("now()"), nullable=False),
        _moment("finished_at", nullable=True),
        sa.CheckConstraint(
            "state IN ('running', 'paused', 'halted', 'succeeded', 'incomplete', 'cancelled')",
            name=op.f("ck_rollouts_state"),
        ),
        sa.CheckConstraint("max_parallel BETWEEN 1 AND 64", name=op.f("ck_rollouts_max_parallel")),
        sa.CheckConstraint("ring >= 0 AND excused >= 0", name=op.f("ck_rollouts_ring")),
        sa.CheckConstraint(
            "(state = 'halted') = (error IS NOT NULL)", name=op.f("ck_rollouts_halted")
        ),
        sa.CheckConstraint(
            "(finished_at IS NOT NULL) = (state IN ('succeeded', 'incomplete', 'cancelled'))",
            name=op.f("ck_rollouts_finished"),
        ),
        sa.CheckConstraint(
            "(request_key IS NULL) = (request_mark IS NULL)"
            " AND (request_key IS NULL OR requested_by IS NOT NULL)",
            name=op.f("ck_rollouts_request"),
        ),
        sa.CheckConstraint("singleton", name=op.f("ck_rollouts_singleton")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollouts")),
        schema="public",
    )
    _index("uq_rollouts_live", ["singleton"], "finished_at IS NULL", unique=True)
    _index(
        "uq_rollouts_request",
        ["requested_by", "request_key"],
        "request_key IS NOT NULL",
        unique=True,
    )
    op.create_index("ix_rollouts_created_at_id", "rollouts", ["created_at", "id"], schema="public")


def _targets() -> None:
    op.create_table(
        "rollout_targets",
        sa.Column("rollout_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("ring", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("from_revision", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        _moment("run_at", server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("error", postgresql.JSONB(), nullable=True),
        _moment("finished_at", nullable=True),
        sa.CheckConstraint(
            "state IN ('pending', 'done', 'failed', 'skipped')",
            name=op.f("ck_rollout_targets_state"),
        ),
        sa.CheckConstraint("ring >= 0 AND attempt >= 0", name=op.f("ck_rollout_targets_ring")),
        sa.CheckConstraint(
            "(finished_at IS NOT NULL) = (state <> 'pending')",
            name=op.f("ck_rollout_targets_finished"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('failed', 'skipped') OR error IS NOT NULL",
            name=op.f("ck_rollout_targets_error"),
        ),
        sa.ForeignKeyConstraint(
            ["rollout_id"],
            ["public.rollouts.id"],
            name=op.f("fk_rollout_targets_rollout_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["public.tenants.id"], name=op.f("fk_rollout_targets_tenant_id")
        ),
        sa.PrimaryKeyConstraint("rollout_id", "tenant_id", name=op.f("pk_rollout_targets")),
        schema="public",
    )
    op.create_index(
        op.f("ix_rollout_targets_tenant_id"), "rollout_targets", ["tenant_id"], schema="public"
    )
    op.create_index(
        "ix_rollout_targets_pending",
        "rollout_targets",
        ["rollout_id", "ring", "run_at"],
        schema="public",
        postgresql_where=sa.text("state = 'pending'"),
    )


def _moment(name: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), **options)


def _index(name: str, columns: list[str], rows: str, *, unique: bool) -> None:
    op.create_index(
        name,
        "rollouts",
        columns,
        unique=unique,
        schema="public",
        postgresql_where=sa.text(rows),
    )


def downgrade() -> None:
    op.drop_table("rollout_targets", schema="public")
    op.drop_table("rollouts", schema="public")
    op.execute("DROP FUNCTION public.check_rollout_target_change()")
    op.execute("DROP FUNCTION public.check_rollout_change()")
