"""What a worker saw when it compared tenants' schemas with the template"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0012"
down_revision: str | Sequence[str] | None = "0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "structure_look",
        sa.Column("singleton", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("begun_at", moment, nullable=False),
        sa.Column("looked_at", moment, nullable=True),
        sa.Column("revision", sa.Text(), nullable=True),
        sa.Column("compared", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("behind", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("drifted", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("singleton", name=op.f("ck_structure_look_singleton")),
        sa.PrimaryKeyConstraint("singleton", name=op.f("pk_structure_look")),
        schema="public",
    )
    op.create_table(
        "structure_drift",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("differences", postgresql.JSONB(), nullable=False),
        sa.Column("lacks_admin", sa.Boolean(), nullable=False),
        sa.Column("first_seen_at", moment, nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["public.tenants.id"],
            name=op.f("fk_structure_drift_tenant_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_structure_drift")),
        schema="public",
    )


def downgrade() -> None:
    op.drop_table("structure_drift", schema="public")
    op.drop_table("structure_look", schema="public")
