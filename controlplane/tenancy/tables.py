"""The core tables of a tenant's schema as they are at the newest revision.

No schema is named: the transaction's path decides whose they are. What the revisions say is the
truth; a test compares the two.
"""

from functools import partial

import sqlalchemy as sa
from sqlalchemy import Column, Index, Text, UniqueConstraint, Uuid, text
from sqlalchemy.dialects.postgresql import INET, JSONB

from controlplane.tenancy.columns import (
    NAMING,
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

metadata = sa.MetaData(naming_convention=NAMING)

_LIVE = text("revoked_at IS NULL")
_UNUSED = text("used_at IS NULL AND revoked_at IS NULL")
_PENDING = text("state = 'pending'")

PURPOSES = ("setup", "magic_link", "reset", "email_verification", "invitation")


def tenant_table(metadata: sa.MetaData, name: str, *parts: sa.schema.SchemaItem) -> sa.Table:
    """A table with the tenant column, whose value the database gives and nobody writes."""
    tenant_id = Column("tenant_id", Uuid(), nullable=False, server_default=sa.FetchedValue())
    return sa.Table(name, metadata, *parts, tenant_id)


_core = partial(tenant_table, metadata)

users = _core(
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

roles = _core(
    "roles",
    key(),
    words("name"),
    Column("description", Text()),
    number("rank", default=0),
    flag("builtin", default=False),
    stamp("created_at"),
    UniqueConstraint("name"),
)

api_clients = _core(
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

user_roles = _core(
    "user_roles",
    belongs_to("user_id", "users.id"),
    belongs_to("role_id", "roles.id"),
    refers_to("granted_by", "users.id"),
    stamp("granted_at"),
    sa.PrimaryKeyConstraint("user_id", "role_id"),
)

client_roles = _core(
    "client_roles",
    belongs_to("client_id", "api_clients.id"),
    belongs_to("role_id", "roles.id"),
    refers_to("granted_by", "users.id"),
    stamp("granted_at"),
    sa.PrimaryKeyConstraint("client_id", "role_id"),
)

tenant_realms = _core(
    "tenant_realms",
    key(),
    words("name"),
    choice("type"),
    choice("source", default="db"),
    document("config"),
    Column("secrets_encrypted", sa.LargeBinary()),
    flag("active", default=True),
    number("priority", default=0),
    stamp("created_at"),
    stamp("updated_at"),
    UniqueConstraint("name"),
    one_of("type", "username_password", "ldap", "oauth2"),
    one_of("source", "db", "file"),
)

sessions = _core(
    "sessions",
    key(),
    required_bytes("token_hash"),
    choice("kind"),
    choice("format", default="opaque"),
    belongs_to("realm_id", "tenant_realms.id"),
    Column("user_id", Uuid(), sa.ForeignKey("users.id", ondelete="CASCADE"), index=True),
    Column("client_id", Uuid(), sa.ForeignKey("api_clients.id", ondelete="CASCADE"), index=True),
    Column("ip", INET()),
    Column("user_agent", Text()),
    stamp("created_at"),
    stamp("last_seen_at"),
    deadline("expires_at"),
    moment("revoked_at"),
    UniqueConstraint("token_hash"),
    one_of("kind", "browser", "service"),
    one_of("format", "opaque", "jws", "jwe"),
    sa.CheckConstraint("num_nonnulls(user_id, client_id) = 1", name="principal"),
    Index("ix_sessions_live", "expires_at", postgresql_where=_LIVE),
)

session_keys = _core(
    "session_keys",
    key(),
    words("kid"),
    choice("format"),
    words("algorithm"),
    required_bytes("private_key_encrypted"),
    Column("public_key", JSONB()),
    flag("active", default=True),
    stamp("created_at"),
    moment("retired_at"),
    UniqueConstraint("kid"),
    one_of("format", "jws", "jwe"),
    Index("uq_session_keys_active", "format", unique=True, postgresql_where=text("active")),
)

oauth_accounts = _core(
    "oauth_accounts",
    key(),
    belongs_to("user_id", "users.id"),
    words("provider"),
    words("subject"),
    Column("email", Text()),
    document("profile"),
    stamp("created_at"),
    moment("last_used_at"),
    UniqueConstraint("provider", "subject"),
)

oauth_states = _core(
    "oauth_states",
    key(),
    required_bytes("state_hash"),
    words("provider"),
    belongs_to("realm_id", "tenant_realms.id"),
    refers_to("user_id", "users.id"),
    words("nonce"),
    words("pkce_verifier"),
    required_bytes("browser_hash"),
    Column("return_path", Text()),
    stamp("created_at"),
    deadline("expires_at"),
    UniqueConstraint("state_hash"),
    Index("ix_oauth_states_expires_at", "expires_at"),
)

passkeys = _core(
    "passkeys",
    key(),
    belongs_to("user_id", "users.id"),
    required_bytes("credential_id"),
    required_bytes("public_key"),
    Column("sign_count", sa.BigInteger(), nullable=False, server_default=text("0")),
    Column("transports", JSONB(), nullable=False, server_default=text("'[]'")),
    Column("aaguid", Uuid()),
    flag("backed_up", default=False),
    Column("name", Text()),
    stamp("created_at"),
    moment("last_used_at"),
    UniqueConstraint("credential_id"),
    sa.CheckConstraint("sign_count >= 0", name="sign_count"),
)

passkey_challenges = _core(
    "passkey_challenges",
    key(),
    refers_to("user_id", "users.id"),
    choice("purpose"),
    required_bytes("challenge"),
    stamp("created_at"),
    deadline("expires_at"),
    moment("used_at"),
    UniqueConstraint("challenge"),
    one_of("purpose", "registration", "authentication"),
    Index("ix_passkey_challenges_expires_at", "expires_at"),
)

secure_tokens = _core(
    "secure_tokens",
    key(),
    choice("purpose"),
    belongs_to("user_id", "users.id"),
    required_bytes("token_hash"),
    stamp("created_at"),
    deadline("expires_at"),
    moment("used_at"),
    moment("revoked_at"),
    UniqueConstraint("token_hash"),
    one_of("purpose", *PURPOSES),
    Index("ix_secure_tokens_unused", "expires_at", postgresql_where=_UNUSED),
)

failed_login_attempts = _core(
    "failed_login_attempts",
    key(),
    words("email"),
    Column("ip", INET()),
    stamp("attempted_at"),
    Index("ix_failed_login_attempts_email", "email", "attempted_at"),
    Index("ix_failed_login_attempts_attempted_at", "attempted_at"),
)

unverified_users = _core(
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

unverified_clients = _core(
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

settings = _core(
    "settings",
    Column("key", Text(), primary_key=True),
    Column("value", JSONB()),
    choice("value_type"),
    Column("value_encrypted", sa.LargeBinary()),
    Column("description", Text()),
    number("version", default=1),
    refers_to("updated_by", "users.id"),
    stamp("updated_at"),
    one_of("value_type", "string", "number", "boolean", "json"),
)

audit_events = _core(
    "audit_events",
    key(),
    stamp("occurred_at"),
    choice("actor_kind"),
    Column("actor_id", Uuid()),
    words("action"),
    Column("target_kind", Text()),
    Column("target_id", Text()),
    choice("outcome", default="ok"),
    Column("ip", INET()),
    Column("request_id", Text()),
    document("details"),
    one_of("actor_kind", "user", "client", "system", "operator"),
    one_of("outcome", "ok", "denied", "failed"),
    Index("ix_audit_events_occurred_at", "occurred_at"),
    Index("ix_audit_events_actor_id", "actor_id", "occurred_at"),
    Index("ix_audit_events_action", "action", "occurred_at"),
)
