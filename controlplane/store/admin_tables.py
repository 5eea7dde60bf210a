"""The admins' tables of the public schema."""

from enum import StrEnum

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from controlplane.store.columns import metadata, now, one_of


class AdminRole(StrEnum):
    SUPER_ADMIN = "super_admin"
    ADMIN = "admin"
    SUPPORT = "support"


class AdminState(StrEnum):
    ACTIVE = "active"
    DISABLED = "disabled"


global_users = Table(
    "global_users",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=func.gen_random_uuid()),
    Column("email", Text, nullable=False),
    Column("name", Text),
    Column("password_hash", Text),
    Column("role", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=AdminState.ACTIVE),
    Column("totp_secret", LargeBinary),
    Column("totp_enabled", Boolean, nullable=False, server_default=text("false")),
    now("last_login_at", nullable=True),
    now("created_at"),
    now("updated_at"),
    one_of("role", AdminRole),
    one_of("state", AdminState),
    Index("uq_global_users_email", text("lower(email)"), unique=True),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", Uuid, primary_key=True, server_default=func.gen_random_uuid()),
    Column("user_id", ForeignKey(global_users.c.id, ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("token_hash", LargeBinary, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
    now("expires_at", nullable=True),
    now("last_used_at", nullable=True),
    now("revoked_at", nullable=True),
    now("created_at"),
    UniqueConstraint("token_hash"),
    Index(None, "user_id"),
)
