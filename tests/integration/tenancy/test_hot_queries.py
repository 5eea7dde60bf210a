"""The queries of every request find their index, also with row security in the way."""

import pytest

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]

HOT = {
    "uq_sessions_token_hash": "SELECT user_id FROM sessions WHERE token_hash = '\\x01'",
    "ix_sessions_user_id": (
        "UPDATE sessions SET revoked_at = '2026-01-01T00:00:00Z'"
        " WHERE user_id = '10000000-0000-4000-8000-000000000001' AND revoked_at IS NULL"
    ),
    "ix_sessions_live": (
        "SELECT id FROM sessions WHERE revoked_at IS NULL AND expires_at < '2020-01-01T00:00:00Z'"
    ),
    "ix_users_email_key": "SELECT id FROM users WHERE email_key = 'person7@example.test'",
    "uq_secure_tokens_token_hash": "SELECT id FROM secure_tokens WHERE token_hash = '\\x01'",
    "ix_secure_tokens_unused": (
        "SELECT id FROM secure_tokens WHERE used_at IS NULL AND revoked_at IS NULL"
        " AND expires_at < '2020-01-01T00:00:00Z'"
    ),
    "uq_oauth_accounts_provider_subject": (
        "SELECT user_id FROM oauth_accounts WHERE provider = 'google' AND subject = '42'"
    ),
    "uq_passkeys_credential_id": "SELECT user_id FROM passkeys WHERE credential_id = '\\x01'",
    "ix_failed_login_attempts_email": (
        "SELECT count(*) FROM failed_login_attempts WHERE email = 'a@example.test'"
        " AND attempted_at > '2026-01-01T00:00:00Z'"
    ),
    "ix_clients_name": "SELECT id FROM clients WHERE name = 'Engines Ltd'",
    "ix_registrations_state": "SELECT id FROM registrations WHERE state = 'submitted'",
    "ix_audit_events_action": "SELECT id FROM audit_events WHERE action = 'login'",
}

MANY = """
INSERT INTO users (email) SELECT 'person' || n || '@example.test' FROM generate_series(1, 3000) n;
INSERT INTO sessions (token_hash, kind, realm_id, user_id, expires_at)
  SELECT sha256(u.email::bytea), 'browser', r.id, u.id, '2100-01-01T00:00:00Z'
  FROM users u, tenant_realms r;
ANALYZE users; ANALYZE sessions
"""


async def test_every_hot_query_can_use_its_index(place, template):
    tenant_id = await place.tenant(template)
    missed = {}
    with place.owned(tenant_id) as connection:
        connection.execute(MANY)
    with place.served(tenant_id, context=tenant_id) as connection:
        # Small tables are read whole; the question is whether the policy lets the index be used.
        connection.execute("SET LOCAL enable_seqscan = off")
        for index, query in HOT.items():
            plan = "\n".join(row[0] for row in connection.execute(f"EXPLAIN {query}"))
            if index not in plan:
                missed[index] = plan
    assert sorted(missed) == [], "\n".join(missed.values())


async def test_a_key_that_exists_is_left_alone_by_on_conflict(place, template):
    tenant_id = await place.tenant(template)
    upsert = (
        "INSERT INTO settings (key, value, value_type, updated_at)"
        " VALUES ('locale', '\"de\"', 'string', '2026-01-01T00:00:00Z') ON CONFLICT (key)"
        " DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at"
    )
    with place.served(tenant_id, context=tenant_id) as connection:
        connection.execute(upsert)
        row = connection.execute("SELECT value FROM settings WHERE key = 'locale'").fetchone()
    assert row == ("de",)
