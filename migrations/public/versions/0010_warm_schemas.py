"""Schemas that were made ahead, and belong to no tenant yet"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | Sequence[str] | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "warm_schemas",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("stamp", sa.Text(), nullable=False),
        sa.Column("going", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "made_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_warm_schemas")),
        schema="public",
    )
    op.create_index(
        "ix_warm_schemas_ready",
        "warm_schemas",
        ["recipe", "made_at"],
        schema="public",
        postgresql_where=sa.text("NOT going"),
    )


def downgrade() -> None:
    op.drop_table("warm_schemas", schema="public")
