"""What the newest look of a worker found"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | Sequence[str] | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "drift_findings",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drift_findings")),
        sa.UniqueConstraint("kind", "subject", "tenant_id", name=op.f("uq_drift_findings_kind")),
        schema="public",
    )
    op.create_index(
        "ix_drift_findings_first_seen_at_id",
        "drift_findings",
        ["first_seen_at", "id"],
        unique=False,
        schema="public",
    )
    op.create_table(
        "drift_look",
        sa.Column("singleton", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("looked_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("singleton", name=op.f("ck_drift_look_singleton")),
        sa.PrimaryKeyConstraint("singleton", name=op.f("pk_drift_look")),
        schema="public",
    )


def downgrade() -> None:
    op.drop_table("drift_look", schema="public")
    op.drop_table("drift_findings", schema="public")
