"""The smallest application: the engine's tests make and drop schemas by the thousand."""

import sqlalchemy as sa

from controlplane.tenancy.revisions import drop_tenant_table, tenant_table

revision = "small_0001"
down_revision = None
branch_labels = ("template",)
depends_on = None


def upgrade() -> None:
    tenant_table(
        "notes", sa.Column("id", sa.Integer(), primary_key=True), sa.Column("body", sa.Text())
    )


def downgrade() -> None:
    drop_tenant_table("notes")
