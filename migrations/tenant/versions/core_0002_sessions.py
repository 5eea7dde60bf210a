"""Signing in: sessions and their keys, external accounts, passkeys, one-time tokens."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import INET, JSONB

from controlplane.tenancy.columns import (
    belongs_to,
    choice,
    deadline,
    document,
    flag,
    key,
    moment,
    one_of,
    refers_to,
    required_bytes,
    stamp,
    words,
)
from controlplane.tenancy.revisions import drop_tenant_table, tenant_table

revision = "core_0002"
down_revision = "core_0001"
branch_labels = None
depends_on = None

PURPOSES = ("setup", "magic_link", "reset", "email_verification", "invitation")
LIVE = sa.text("revoked_at IS NULL")
UNUSED = sa.text("used_at IS NULL AND revoked_at IS NULL")


def upgrade() -> None:
    _sessions()
    _session_keys()
    _oauth()
    _passkeys()
    _secure_tokens()
    _failed_logins()


def downgrade() -> None:
    for table in [
        "failed_login_attempts",
        "secure_tokens",
        "passkey_challenges",
        "passkeys",
        "oauth_states",
        "oauth_accounts",
        "session_keys",
        "sessions",
    ]:
        drop_tenant_table(table)


def _sessions() -> None:
    tenant_table(
        "sessions",
        key(),
        required_bytes("token_hash"),
        choice("kind"),
        choice("format", default="opaque"),
        belongs_to("realm_id", "tenant_realms.id"),
        sa.Column("user_id", sa.Uuid(), sa.ForeignKey("users.id", ondelete="CASCADE"), index=True),
        sa.Column(
            "client_id", sa.Uuid(), sa.ForeignKey("api_clients.id", ondelete="CASCADE"), index=True
        ),
        sa.Column("ip", INET()),
        sa.Column("user_agent", sa.Text()),
        stamp("created_at"),
        stamp("last_seen_at"),
        deadline("expires_at"),
        moment("revoked_at"),
        sa.UniqueConstraint("token_hash"),
        one_of("kind", "browser", "service"),
        one_of("format", "opaque", "jws", "jwe"),
        sa.CheckConstraint("num_nonnulls(user_id, client_id) = 1", name="principal"),
    )
    op.create_index("ix_sessions_live", "sessions", ["expires_at"], postgresql_where=LIVE)


def _session_keys() -> None:
    tenant_table(
        "session_keys",
        key(),
        words("kid"),
        choice("format"),
        words("algorithm"),
        required_bytes("private_key_encrypted"),
        sa.Column("public_key", JSONB()),
        flag("active", default=True),
        stamp("created_at"),
        moment("retired_at"),
        sa.UniqueConstraint("kid"),
        one_of("format", "jws", "jwe"),
    )
    op.create_index(
        "uq_session_keys_active",
        "session_keys",
        ["format"],
        unique=True,
        postgresql_where=sa.text("active"),
    )


def _oauth() -> None:
    tenant_table(
        "oauth_accounts",
        key(),
        belongs_to("user_id", "users.id"),
        words("provider"),
        words("subject"),
        sa.Column("email", sa.Text()),
        document("profile"),
        stamp("created_at"),
        moment("last_used_at"),
        sa.UniqueConstraint("provider", "subject"),
    )
    tenant_table(
        "oauth_states",
        key(),
        required_bytes("state_hash"),
        words("provider"),
        belongs_to("realm_id", "tenant_realms.id"),
        refers_to("user_id", "users.id"),
        words("nonce"),
        words("pkce_verifier"),
        required_bytes("browser_hash"),
        sa.Column("return_path", sa.Text()),
        stamp("created_at"),
        deadline("expires_at"),
        sa.UniqueConstraint("state_hash"),
    )
    op.create_index("ix_oauth_states_expires_at", "oauth_states", ["expires_at"])


def _passkeys() -> None:
    tenant_table(
        "passkeys",
        key(),
        belongs_to("user_id", "users.id"),
        required_bytes("credential_id"),
        required_bytes("public_key"),
        sa.Column("sign_count", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("transports", JSONB(), nullable=False, server_default=sa.text("'[]'")),
        sa.Column("aaguid", sa.Uuid()),
        flag("backed_up", default=False),
        sa.Column("name", sa.Text()),
        stamp("created_at"),
        moment("last_used_at"),
        sa.UniqueConstraint("credential_id"),
        sa.CheckConstraint("sign_count >= 0", name="sign_count"),
    )
    tenant_table(
        "passkey_challenges",
        key(),
        refers_to("user_id", "users.id"),
        choice("purpose"),
        required_bytes("challenge"),
        stamp("created_at"),
        deadline("expires_at"),
        moment("used_at"),
        sa.UniqueConstraint("challenge"),
        one_of("purpose", "registration", "authentication"),
    )
    op.create_index("ix_passkey_challenges_expires_at", "passkey_challenges", ["expires_at"])


def _secure_tokens() -> None:
    tenant_table(
        "secure_tokens",
        key(),
        choice("purpose"),
        belongs_to("user_id", "users.id"),
        required_bytes("token_hash"),
        stamp("created_at"),
        deadline("expires_at"),
        moment("used_at"),
        moment("revoked_at"),
        sa.UniqueConstraint("token_hash"),
        one_of("purpose", *PURPOSES),
    )
    op.create_index(
        "ix_secure_tokens_unused", "secure_tokens", ["expires_at"], postgresql_where=UNUSED
    )


def _failed_logins() -> None:
    tenant_table(
        "failed_login_attempts",
        key(),
        words("email"),
        sa.Column("ip", INET()),
        stamp("attempted_at"),
    )
    op.create_index(
        "ix_failed_login_attempts_email",
        "failed_login_attempts",
        ["email", "attempted_at"],
    )
    op.create_index(
        "ix_failed_login_attempts_attempted_at", "failed_login_attempts", ["attempted_at"]
    )
