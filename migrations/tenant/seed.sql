-- What every tenant begins with. Literal rows only: the script is compiled once for all tenants.
INSERT INTO roles (id, name, description, rank, builtin) VALUES
  ('00000000-0000-4000-8000-000000000001', 'tenant_admin', 'Everything within the tenant', 100, true),
  ('00000000-0000-4000-8000-000000000002', 'tenant_manager', 'People and records, no settings', 50, true),
  ('00000000-0000-4000-8000-000000000003', 'user', 'Own records', 10, true);

INSERT INTO tenant_realms (id, name, type, source, config, active, priority) VALUES
  ('00000000-0000-4000-8000-000000000010', 'database', 'username_password', 'db',
   '{"password_min_length": 12, "session_hours": 24, "idle_hours": 2}', true, 0);

INSERT INTO settings (key, value, value_type, description) VALUES
  ('locale', '"en"', 'string', 'Language of pages and mails'),
  ('timezone', '"UTC"', 'string', 'How times are shown'),
  ('branding.display_name', '""', 'string', 'Shown instead of the tenant''s name'),
  ('branding.primary_color', '"#1f6feb"', 'string', 'Colour of buttons and links'),
  ('signup.enabled', 'false', 'boolean', 'Whether anybody may ask for an account'),
  ('signup.expires_hours', '72', 'number', 'How long a sign-up waits for approval');
