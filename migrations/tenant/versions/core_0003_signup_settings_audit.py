"""Sign-ups that wait for approval, the tenant's settings and its audit trail."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import INET, JSONB

from controlplane.tenancy.columns import (
    choice,
    deadline,
    document,
    key,
    moment,
    number,
    one_of,
    refers_to,
    required_bytes,
    stamp,
    words,
)
from controlplane.tenancy.revisions import APPEND_ONLY, drop_tenant_table, tenant_table

revision = "core_0003"
down_revision = "core_0002"
branch_labels = None
depends_on = None

PENDING = sa.text("state = 'pending'")


def upgrade() -> None:
    _unverified_users()
    _unverified_clients()
    _settings()
    _audit_events()


def downgrade() -> None:
    for table in ["audit_events", "settings", "unverified_clients", "unverified_users"]:
        drop_tenant_table(table)


def _unverified_users() -> None:
    tenant_table(
        "unverified_users",
        key(),
        words("email"),
        sa.Column("name", sa.Text()),
        sa.Column("password_hash", sa.Text()),
        choice("state", default="pending"),
        stamp("requested_at"),
        deadline("expires_at"),
        moment("processed_at"),
        refers_to("processed_by", "users.id"),
        one_of("state", "pending", "approved", "rejected", "expired"),
    )
    op.create_index(
        "uq_unverified_users_email",
        "unverified_users",
        [sa.text("lower(email)")],
        unique=True,
        postgresql_where=PENDING,
    )


def _unverified_clients() -> None:
    tenant_table(
        "unverified_clients",
        key(),
        words("client_id"),
        words("name"),
        words("contact_email"),
        required_bytes("secret_hash"),
        choice("state", default="pending"),
        stamp("requested_at"),
        deadline("expires_at"),
        moment("processed_at"),
        refers_to("processed_by", "users.id"),
        one_of("state", "pending", "approved", "rejected", "expired"),
    )
    op.create_index(
        "uq_unverified_clients_client_id",
        "unverified_clients",
        ["client_id"],
        unique=True,
        postgresql_where=PENDING,
    )


def _settings() -> None:
    tenant_table(
        "settings",
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("value", JSONB()),
        choice("value_type"),
        sa.Column("value_encrypted", sa.LargeBinary()),
        sa.Column("description", sa.Text()),
        number("version", default=1),
        refers_to("updated_by", "users.id"),
        stamp("updated_at"),
        one_of("value_type", "string", "number", "boolean", "json"),
    )


def _audit_events() -> None:
    tenant_table(
        "audit_events",
        key(),
        stamp("occurred_at"),
        choice("actor_kind"),
        sa.Column("actor_id", sa.Uuid()),
        words("action"),
        sa.Column("target_kind", sa.Text()),
        sa.Column("target_id", sa.Text()),
        choice("outcome", default="ok"),
        sa.Column("ip", INET()),
        sa.Column("request_id", sa.Text()),
        document("details"),
        one_of("actor_kind", "user", "client", "system", "operator"),
        one_of("outcome", "ok", "denied", "failed"),
        grants=APPEND_ONLY,
    )
    op.create_index("ix_audit_events_occurred_at", "audit_events", ["occurred_at"])
    op.create_index("ix_audit_events_actor_id", "audit_events", ["actor_id", "occurred_at"])
    op.create_index("ix_audit_events_action", "audit_events", ["action", "occurred_at"])
