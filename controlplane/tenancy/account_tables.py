"""Who there is in a tenant, people and machines, and who asks to be let in."""

import sqlalchemy as sa
from sqlalchemy import Column, Index, Text, UniqueConstraint, text

from controlplane.tenancy.columns import (
    belongs_to,
    choice,
    deadline,
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
from controlplane.tenancy.tenant_table import core_table

_PENDING = text("state = 'pending'")

users = core_table(
    "users",
    key(),
    words("email"),
    lowered("email_key", "email"),
    moment("email_verified_at"),
    Column("name", Text()),
    Column("password_hash", Text()),
    choice("state", default="active"),
    document("metadata"),
    moment("last_login_at"),
    stamp("created_at"),
    stamp("updated_at"),
    one_of("state", "active", "disabled"),
    Index("uq_users_email", text("lower(email)"), unique=True),
    Index("ix_users_email_key", "email_key"),
)

roles = core_table(
    "roles",
    key(),
    words("name"),
    Column("description", Text()),
    number("rank", default=0),
    flag("builtin", default=False),
    stamp("created_at"),
    UniqueConstraint("name"),
)

api_clients = core_table(
    "api_clients",
    key(),
    words("client_id"),
    words("name"),
    required_bytes("secret_hash"),
    Column("previous_secret_hash", sa.LargeBinary()),
    moment("previous_secret_expires_at"),
    choice("state", default="active"),
    refers_to("created_by", "users.id"),
    moment("last_used_at"),
    stamp("created_at"),
    stamp("updated_at"),
    UniqueConstraint("client_id"),
    one_of("state", "active", "disabled"),
)

user_roles = core_table(
    "user_roles",
    belongs_to("user_id", "users.id"),
    belongs_to("role_id", "roles.id"),
    refers_to("granted_by", "users.id"),
    stamp("granted_at"),
    sa.PrimaryKeyConstraint("user_id", "role_id"),
)

client_roles = core_table(
    "client_roles",
    belongs_to("client_id", "api_clients.id"),
    belongs_to("role_id", "roles.id"),
    refers_to("granted_by", "users.id"),
    stamp("granted_at"),
    sa.PrimaryKeyConstraint("client_id", "role_id"),
)

unverified_users = core_table(
    "unverified_users",
    key(),
    words("email"),
    Column("name", Text()),
    Column("password_hash", Text()),
    choice("state", default="pending"),
    stamp("requested_at"),
    deadline("expires_at"),
    moment("processed_at"),
    refers_to("processed_by", "users.id"),
    one_of("state", "pending", "approved", "rejected", "expired"),
    Index(
        "uq_unverified_users_email", text("lower(email)"), unique=True, postgresql_where=_PENDING
    ),
)

unverified_clients = core_table(
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
    Index("uq_unverified_clients_client_id", "client_id", unique=True, postgresql_where=_PENDING),
)
