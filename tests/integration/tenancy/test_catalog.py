"""What PostgreSQL's catalog says of a tenant's schema, and that a departure is found."""

import pytest
from psycopg.errors import CheckViolation, UniqueViolation
from psycopg.sql import SQL, Identifier

from controlplane.domain.naming import schema_name
from controlplane.tenancy.inspect import show
from controlplane.tenancy.scope import send
from controlplane.tenancy.verify import verify_catalog

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]

# Rows that each repeat a key of rows.sql or of the seeds.
DOUBLES = [
    "INSERT INTO users (email) VALUES ('ADA@example.test')",
    """INSERT INTO oauth_accounts (user_id, provider, subject)
       VALUES ('10000000-0000-4000-8000-000000000002', 'google', '42')""",
    """INSERT INTO passkeys (user_id, credential_id, public_key)
       VALUES ('10000000-0000-4000-8000-000000000002', '\\x06', '\\x01')""",
    """INSERT INTO secure_tokens (purpose, user_id, token_hash, expires_at)
       VALUES ('setup', '10000000-0000-4000-8000-000000000002', '\\x09', now())""",
    """INSERT INTO sessions (token_hash, kind, realm_id, user_id, expires_at)
       VALUES ('\\x02', 'browser', '00000000-0000-4000-8000-000000000010',
               '10000000-0000-4000-8000-000000000002', now())""",
    "INSERT INTO api_clients (client_id, name, secret_hash) VALUES ('export', 'x', '\\x01')",
    "INSERT INTO unverified_users (email, expires_at) VALUES ('NEW@example.test', now())",
    """INSERT INTO session_keys (kid, format, algorithm, private_key_encrypted)
       VALUES ('k2', 'jws', 'EdDSA', '\\x01')""",
    "INSERT INTO roles (name) VALUES ('tenant_admin')",
    "INSERT INTO tenant_realms (name, type) VALUES ('database', 'ldap')",
]
MISFITS = [
    "UPDATE users SET state = 'actve'",
    "UPDATE tenant_realms SET type = 'kerberos'",
    "UPDATE secure_tokens SET purpose = 'other'",
    "UPDATE sessions SET kind = 'other'",
    "UPDATE sessions SET format = 'paseto'",
    "UPDATE sessions SET user_id = NULL",
    "UPDATE unverified_users SET state = 'x'",
    "UPDATE unverified_clients SET state = 'x'",
    "UPDATE settings SET value_type = 'x'",
    "UPDATE audit_events SET actor_kind = 'x'",
    "UPDATE registrations SET state = 'deleted'",
    "UPDATE documents SET state = 'x'",
    "UPDATE documents SET size_bytes = -1",
    "UPDATE commissions SET state = 'x'",
    "UPDATE commissions SET rate = 1.1",
    "UPDATE commissions SET currency = 'eur'",
    "UPDATE commissions SET amount = -1",
    "UPDATE clients SET kind = 'x'",
    "UPDATE passkey_challenges SET purpose = 'x'",
    "UPDATE passkeys SET sign_count = -1",
]
DAMAGE = [
    ("ALTER TABLE users DISABLE ROW LEVEL SECURITY", "Row-level security is off on users."),
    ("ALTER TABLE roles NO FORCE ROW LEVEL SECURITY", "not forced on roles"),
    ("DROP POLICY tenant_rows ON clients", "The policies on clients are"),
    ("CREATE POLICY open ON clients USING (true)", "The policies on clients are"),
    ("ALTER POLICY tenant_rows ON users USING (true)", "on users has another text"),
    ("ALTER TABLE users DROP CONSTRAINT ck_users_tenant_id", "No CHECK pins users"),
    ("REVOKE INSERT ON users FROM {role}", "The tenant's role has"),
    ("GRANT TRUNCATE ON users TO {role}", "The tenant's role has"),
    ("GRANT SELECT ON users TO PUBLIC", "Others than the tenant's role have rights on users"),
    ("GRANT SELECT (email) ON users TO PUBLIC", "Rights on single columns of users"),
    ("GRANT UPDATE (ip) ON audit_events TO {role}", "single columns of audit_events"),
    ("GRANT USAGE ON SCHEMA {role} TO PUBLIC", "Others than the tenant's role have rights on its"),
    ("GRANT CREATE ON SCHEMA {role} TO {app}", "Others than the tenant's role have rights on its"),
    ("REVOKE USAGE ON SCHEMA {role} FROM {role}", "may not use its schema"),
    ("GRANT CREATE ON SCHEMA {role} TO {role}", "may create objects"),
    ("ALTER SCHEMA {role} OWNER TO {role}", "belongs to the tenant's own role"),
    ("ALTER TABLE users OWNER TO postgres", "users belongs to another role"),
    (
        "SET LOCAL ROLE {owner}; REVOKE {role} FROM {app}; RESET ROLE",
        "is not a member of the tenant's role",
    ),
    ("ALTER ROLE {role} BYPASSRLS", "has rights over others"),
    ("DROP TABLE commissions", "Table commissions is missing."),
    ("CREATE TABLE bare (x int)", "Row-level security is off on bare."),
    ("DELETE FROM alembic_version WHERE version_num = 'app_0001'", "is at revision core_0003"),
    ("DROP SCHEMA {role} CASCADE", "is missing"),
]


@pytest.fixture
async def tenant_id(place, template):
    return await place.tenant(template)


def _in_schema(place, tenant_id, query):
    with place.superuser() as connection:
        return connection.execute(query, {"schema": schema_name(tenant_id)}).fetchall()


async def test_every_reference_has_an_index_that_begins_with_its_columns(place, tenant_id):
    gaps = """
        SELECT k.conrelid::regclass::text, k.conname FROM pg_constraint k
        WHERE k.contype = 'f' AND k.connamespace = to_regnamespace(%(schema)s)
          AND NOT EXISTS (
            SELECT FROM pg_index i WHERE i.indrelid = k.conrelid AND i.indpred IS NULL
            AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey)
    """
    assert _in_schema(place, tenant_id, gaps) == []


async def test_no_reference_leaves_the_schema(place, tenant_id):
    leaving = """
        SELECT k.conname FROM pg_constraint k JOIN pg_class c ON c.oid = k.confrelid
        WHERE k.connamespace = to_regnamespace(%(schema)s)
          AND c.relnamespace <> k.connamespace
    """
    assert _in_schema(place, tenant_id, leaving) == []


async def test_there_are_no_triggers_types_functions_sequences_or_identities(place, tenant_id):
    unwanted = """
        SELECT 'trigger', tgname::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE NOT tgisinternal AND c.relnamespace = to_regnamespace(%(schema)s)
        UNION ALL SELECT 'type', typname FROM pg_type
        WHERE typnamespace = to_regnamespace(%(schema)s) AND typtype IN ('e', 'd')
        UNION ALL SELECT 'function', proname FROM pg_proc
        WHERE pronamespace = to_regnamespace(%(schema)s)
        UNION ALL SELECT relkind::text, relname FROM pg_class
        WHERE relnamespace = to_regnamespace(%(schema)s) AND relkind NOT IN ('r', 'i')
        UNION ALL SELECT 'identity', attname FROM pg_attribute a
        JOIN pg_class c ON c.oid = a.attrelid
        WHERE c.relnamespace = to_regnamespace(%(schema)s) AND attidentity <> ''
    """
    assert _in_schema(place, tenant_id, unwanted) == []


async def test_every_time_has_a_zone(place, tenant_id):
    naive = """
        SELECT c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        WHERE c.relnamespace = to_regnamespace(%(schema)s) AND a.atttypid = 'timestamp'::regtype
    """
    assert _in_schema(place, tenant_id, naive) == []


async def test_what_must_be_unique_is(place, tenant_id):
    assert _accepted(place, tenant_id, DOUBLES, UniqueViolation) == []


async def test_a_value_outside_the_rule_is_refused(place, tenant_id):
    assert _accepted(place, tenant_id, MISFITS, CheckViolation) == []


def _accepted(place, tenant_id, statements, refusal):
    """The statements that were not refused."""
    accepted = []
    with place.owned(tenant_id) as connection:
        for statement in statements:
            try:
                with connection.transaction():
                    connection.execute(statement)
            except refusal:
                continue
            accepted.append(statement)
    return accepted


async def test_each_kind_of_damage_is_found(place, template, tenant_id):
    overlooked = []
    for damage, finding in DAMAGE:
        async with place.superuser_async() as conn:
            await _damage(conn, place, tenant_id, damage)
            found = await verify_catalog(
                conn, tenant_id=tenant_id, app_login=place.app_login, template=template
            )
            await conn.rollback()
        if finding not in " ".join(found):
            overlooked.append((damage, found))
    assert overlooked == []


async def _damage(conn, place, tenant_id, damage):
    role = Identifier(schema_name(tenant_id))
    logins = {"app": Identifier(place.app_login), "owner": Identifier(place.owner_login)}
    await send(conn, SQL("SET LOCAL search_path = {}").format(role).as_string())
    await send(conn, SQL(damage).format(role=role, **logins).as_string())


async def test_a_schema_can_be_looked_at(place, tenant_id):
    async with place.owner() as conn:
        shown = {table.name: table for table in await show(conn, tenant_id=tenant_id)}
    roles = shown["roles"]
    assert len(shown) == 23
    assert roles.protected
    assert [(c.name, c.type, c.nullable) for c in roles.columns][:3] == [
        ("id", "uuid", False),
        ("name", "text", False),
        ("description", "text", True),
    ]
    assert [(p.name, p.permissive) for p in roles.policies] == [
        ("tenant_access", True),
        ("tenant_rows", False),
    ]
