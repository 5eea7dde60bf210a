"""Names that nobody else may claim"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | Sequence[str] | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Whoever was purged lately was served lately. `deleted_at`: a tenant that never was has none.
_HOLD_WHAT_WAS_RELEASED = """
INSERT INTO public.subdomain_holds (subdomain, why, tenant_id, until)
SELECT DISTINCT ON (subdomain) subdomain, 'released', id, updated_at + interval '30 days'
FROM public.tenants gone
WHERE state = 'purged' AND deleted_at IS NOT NULL
  AND updated_at + interval '30 days' > clock_timestamp()
  AND NOT EXISTS (
    SELECT FROM public.tenants heir
    WHERE heir.subdomain = gone.subdomain AND heir.state NOT IN ('failed', 'purged')
  )
ORDER BY subdomain, updated_at DESC
"""


def upgrade() -> None:
    op.create_table(
        "subdomain_holds",
        sa.Column("subdomain", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "why IN ('rename', 'released', 'undone')", name=op.f("ck_subdomain_holds_why")
        ),
        sa.CheckConstraint(
            "(until IS NULL) = (why = 'rename')", name=op.f("ck_subdomain_holds_until")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["public.tenants.id"], name=op.f("fk_subdomain_holds_tenant_id")
        ),
        sa.PrimaryKeyConstraint("subdomain", "why", name=op.f("pk_subdomain_holds")),
        schema="public",
    )
    op.create_index(
        op.f("ix_subdomain_holds_tenant_id"),
        "subdomain_holds",
        ["tenant_id"],
        unique=False,
        schema="public",
    )
    # Every claim asks whether a record of that name may be there.
    op.create_index(
        "ix_tenant_resources_kind_external_id",
        "tenant_resources",
        ["kind", "external_id"],
        unique=False,
        schema="public",
    )
    op.execute(_HOLD_WHAT_WAS_RELEASED)


def downgrade() -> None:
    op.drop_index(
        "ix_tenant_resources_kind_external_id", table_name="tenant_resources", schema="public"
    )
    op.drop_table("subdomain_holds", schema="public")
