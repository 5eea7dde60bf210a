"""The sample application: clients, their registrations, documents and commissions."""

import sqlalchemy as sa
from alembic import op

from controlplane.tenancy.columns import (
    belongs_to,
    choice,
    document,
    key,
    moment,
    one_of,
    refers_to,
    stamp,
    words,
)
from controlplane.tenancy.revisions import drop_tenant_table, tenant_table

revision = "app_0001"
down_revision = None
branch_labels = ("template",)
depends_on = None


def upgrade() -> None:
    _clients()
    _registrations()
    _documents()
    _commissions()


def downgrade() -> None:
    for table in ["commissions", "documents", "registrations", "clients"]:
        drop_tenant_table(table)


def _clients() -> None:
    tenant_table(
        "clients",
        key(),
        choice("kind"),
        words("name"),
        sa.Column("email", sa.Text()),
        sa.Column("phone", sa.Text()),
        choice("state", default="active"),
        document("metadata"),
        refers_to("created_by", "users.id"),
        stamp("created_at"),
        stamp("updated_at"),
        one_of("kind", "individual", "company"),
        one_of("state", "active", "archived"),
    )
    op.create_index("ix_clients_name", "clients", ["name"])


def _registrations() -> None:
    tenant_table(
        "registrations",
        key(),
        words("number"),
        belongs_to("client_id", "clients.id"),
        choice("state", default="draft"),
        document("details"),
        refers_to("assigned_to", "users.id"),
        moment("submitted_at"),
        moment("decided_at"),
        stamp("created_at"),
        stamp("updated_at"),
        sa.UniqueConstraint("number"),
        one_of("state", "draft", "submitted", "in_review", "approved", "rejected", "cancelled"),
    )
    op.create_index("ix_registrations_state", "registrations", ["state", "created_at"])


def _documents() -> None:
    tenant_table(
        "documents",
        key(),
        belongs_to("registration_id", "registrations.id"),
        words("name"),
        words("storage_path"),
        words("mime_type"),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        choice("state", default="pending"),
        refers_to("uploaded_by", "users.id"),
        refers_to("verified_by", "users.id"),
        moment("verified_at"),
        moment("expires_at"),
        stamp("created_at"),
        stamp("updated_at"),
        sa.UniqueConstraint("storage_path"),
        one_of("state", "pending", "verified", "rejected", "expired"),
        sa.CheckConstraint("size_bytes >= 0", name="size_bytes"),
    )


def _commissions() -> None:
    tenant_table(
        "commissions",
        key(),
        belongs_to("registration_id", "registrations.id"),
        refers_to("user_id", "users.id"),
        sa.Column("fee", sa.Numeric(14, 2), nullable=False),
        sa.Column("rate", sa.Numeric(6, 5), nullable=False),
        sa.Column("amount", sa.Numeric(14, 2), nullable=False),
        words("currency"),
        choice("state", default="pending"),
        moment("paid_at"),
        stamp("created_at"),
        stamp("updated_at"),
        one_of("state", "pending", "approved", "paid", "cancelled"),
        sa.CheckConstraint("fee >= 0 AND amount >= 0", name="amounts"),
        sa.CheckConstraint("rate BETWEEN 0 AND 1", name="rate"),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency"),
    )
