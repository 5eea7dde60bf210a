-- A row in every table that the seeds leave empty; the keys are the same in every tenant.
INSERT INTO users (id, email, name) VALUES
  ('10000000-0000-4000-8000-000000000001', 'ada@example.test', 'Ada'),
  ('10000000-0000-4000-8000-000000000002', 'Bob@example.test', 'Bob');
INSERT INTO user_roles (user_id, role_id, granted_by) VALUES
  ('10000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000001', NULL),
  ('10000000-0000-4000-8000-000000000002', '00000000-0000-4000-8000-000000000003',
   '10000000-0000-4000-8000-000000000001');
INSERT INTO api_clients (id, client_id, name, secret_hash, created_by) VALUES
  ('20000000-0000-4000-8000-000000000001', 'export', 'Export', '\x01',
   '10000000-0000-4000-8000-000000000001');
INSERT INTO client_roles (client_id, role_id) VALUES
  ('20000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000003');
INSERT INTO sessions (id, token_hash, kind, realm_id, user_id, expires_at) VALUES
  ('30000000-0000-4000-8000-000000000001', '\x02', 'browser',
   '00000000-0000-4000-8000-000000000010', '10000000-0000-4000-8000-000000000001',
   '2100-01-01T00:00:00Z');
INSERT INTO session_keys (id, kid, format, algorithm, private_key_encrypted) VALUES
  ('31000000-0000-4000-8000-000000000001', 'k1', 'jws', 'EdDSA', '\x03');
INSERT INTO oauth_accounts (id, user_id, provider, subject) VALUES
  ('32000000-0000-4000-8000-000000000001', '10000000-0000-4000-8000-000000000001', 'google', '42');
INSERT INTO oauth_states
  (id, state_hash, provider, realm_id, nonce, pkce_verifier, browser_hash, expires_at) VALUES
  ('33000000-0000-4000-8000-000000000001', '\x04', 'google',
   '00000000-0000-4000-8000-000000000010', 'n', 'v', '\x05', '2100-01-01T00:00:00Z');
INSERT INTO passkeys (id, user_id, credential_id, public_key) VALUES
  ('34000000-0000-4000-8000-000000000001', '10000000-0000-4000-8000-000000000001', '\x06', '\x07');
INSERT INTO passkey_challenges (id, purpose, challenge, expires_at) VALUES
  ('35000000-0000-4000-8000-000000000001', 'authentication', '\x08', '2100-01-01T00:00:00Z');
INSERT INTO secure_tokens (id, purpose, user_id, token_hash, expires_at) VALUES
  ('36000000-0000-4000-8000-000000000001', 'reset', '10000000-0000-4000-8000-000000000001', '\x09',
   '2100-01-01T00:00:00Z');
INSERT INTO failed_login_attempts (id, email) VALUES
  ('37000000-0000-4000-8000-000000000001', 'nobody@example.test');
INSERT INTO unverified_users (id, email, expires_at) VALUES
  ('38000000-0000-4000-8000-000000000001', 'new@example.test', '2100-01-01T00:00:00Z');
INSERT INTO unverified_clients (id, client_id, name, contact_email, secret_hash, expires_at) VALUES
  ('39000000-0000-4000-8000-000000000001', 'new', 'New', 'new@example.test', '\x0a',
   '2100-01-01T00:00:00Z');
INSERT INTO audit_events (id, actor_kind, action) VALUES
  ('3a000000-0000-4000-8000-000000000001', 'system', 'tenant.created');
INSERT INTO clients (id, kind, name) VALUES
  ('40000000-0000-4000-8000-000000000001', 'company', 'Engines Ltd');
INSERT INTO registrations (id, number, client_id) VALUES
  ('41000000-0000-4000-8000-000000000001', 'R-1', '40000000-0000-4000-8000-000000000001');
INSERT INTO documents (id, registration_id, name, storage_path, mime_type, size_bytes) VALUES
  ('42000000-0000-4000-8000-000000000001', '41000000-0000-4000-8000-000000000001', 'Deed',
   'deed.pdf', 'application/pdf', 1024);
INSERT INTO commissions (id, registration_id, fee, rate, amount, currency) VALUES
  ('43000000-0000-4000-8000-000000000001', '41000000-0000-4000-8000-000000000001', 100, 0.1, 10,
   'EUR');
