"""How people and machines prove who they are, and what they hold once they have."""

import sqlalchemy as sa
from sqlalchemy import Column, Index, Text, UniqueConstraint, Uuid, text
from sqlalchemy.dialects.postgresql import INET, JSONB

from controlplane.tenancy.columns import (
    belongs_to,
    choice,
    deadline,
    document,
    flag,
    key,
    moment,
    number,
    one_of,
    refers_to,
    required_bytes,
    stamp,
    words,
)
from controlplane.tenancy.tenant_table import core_table

_LIVE = text("revoked_at IS NULL")
_UNUSED = text("used_at IS NULL AND revoked_at IS NULL")

PURPOSES = ("setup", "magic_link", "reset", "email_verification", "invitation")

tenant_realms = core_table(
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

sessions = core_table(
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

session_keys = core_table(
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

oauth_accounts = core_table(
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

oauth_states = core_table(
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

passkeys = core_table(
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

passkey_challenges = core_table(
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

secure_tokens = core_table(
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

failed_login_attempts = core_table(
    "failed_login_attempts",
    key(),
    words("email"),
    Column("ip", INET()),
    stamp("attempted_at"),
    Index("ix_failed_login_attempts_email", "email", "attempted_at"),
    Index("ix_failed_login_attempts_attempted_at", "attempted_at"),
)
