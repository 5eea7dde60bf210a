"""Principals: users, API clients, roles and realms."""

import sqlalchemy as sa
from alembic import op

from controlplane.tenancy.columns import (
    belongs_to,
    choice,
    document,
    flag,
    key,
    lowered,
    moment,
    number,
    one_of,
    refers_to,
    required_bytes,
    stamp,
    words,
)
from controlplane.tenancy.revisions import (
    drop_tenant_table,
    protect_versions,
    tenant_table,
    unprotect_versions,
)

revision = "core_0001"
down_revision = None
branch_labels = ("core",)
depends_on = None


def upgrade() -> None:
    protect_versions()
    _users()
    _roles()
    _api_clients()
    _assignments()
    _realms()


def downgrade() -> None:
    for table in ["tenant_realms", "client_roles", "user_roles", "api_clients", "roles", "users"]:
        drop_tenant_table(table)
    unprotect_versions()


def _users() -> None:
    tenant_table(
        "users",
        key(),
        words("email"),
        lowered("email_key", "email"),
        moment("email_verified_at"),
        sa.Column("name", sa.Text()),
        sa.Column("password_hash", sa.Text()),
        choice("state", default="active"),
        document("metadata"),
        moment("last_login_at"),
        stamp("created_at"),
        stamp("updated_at"),
        one_of("state", "active", "disabled"),
    )
    op.create_index("uq_users_email", "users", [sa.text("lower(email)")], unique=True)
    op.create_index("ix_users_email_key", "users", ["email_key"])


def _roles() -> None:
    tenant_table(
        "roles",
        key(),
        words("name"),
        sa.Column("description", sa.Text()),
        number("rank", default=0),
        flag("builtin", default=False),
        stamp("created_at"),
        sa.UniqueConstraint("name"),
    )


def _api_clients() -> None:
    tenant_table(
        "api_clients",
        key(),
        words("client_id"),
        words("name"),
        required_bytes("secret_hash"),
        sa.Column("previous_secret_hash", sa.LargeBinary()),
        moment("previous_secret_expires_at"),
        choice("state", default="active"),
        refers_to("created_by", "users.id"),
        moment("last_used_at"),
        stamp("created_at"),
        stamp("updated_at"),
        sa.UniqueConstraint("client_id"),
        one_of("state", "active", "disabled"),
    )


def _assignments() -> None:
    tenant_table(
        "user_roles",
        belongs_to("user_id", "users.id"),
        belongs_to("role_id", "roles.id"),
        refers_to("granted_by", "users.id"),
        stamp("granted_at"),
        sa.PrimaryKeyConstraint("user_id", "role_id"),
    )
    tenant_table(
        "client_roles",
        belongs_to("client_id", "api_clients.id"),
        belongs_to("role_id", "roles.id"),
        refers_to("granted_by", "users.id"),
        stamp("granted_at"),
        sa.PrimaryKeyConstraint("client_id", "role_id"),
    )


def _realms() -> None:
    tenant_table(
        "tenant_realms",
        key(),
        words("name"),
        choice("type"),
        choice("source", default="db"),
        document("config"),
        sa.Column("secrets_encrypted", sa.LargeBinary()),
        flag("active", default=True),
        number("priority", default=0),
        stamp("created_at"),
        stamp("updated_at"),
        sa.UniqueConstraint("name"),
        one_of("type", "username_password", "ldap", "oauth2"),
        one_of("source", "db", "file"),
    )
