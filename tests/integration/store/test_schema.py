"""The public schema as PostgreSQL has it: columns, CHECKs, unique and foreign keys, indexes."""

from collections.abc import Mapping

import psycopg
import pytest
from psycopg.errors import CheckViolation, GeneratedAlways, UniqueViolation
from psycopg.types.json import Jsonb

pytestmark = pytest.mark.database_near

TENANTS = {
    "id": "uuid",
    "name": "text",
    "subdomain": "text",
    "schema_name": "text",
    "state": "text",
    "tier": "text",
    "admin_email": "text",
    "admin_name": "text?",
    "revision": "text?",
    "version": "bigint",
    "metadata": "jsonb",
    "conditions": "jsonb",
    "created_at": "timestamp with time zone",
    "updated_at": "timestamp with time zone",
    "deleted_at": "timestamp with time zone?",
}
GLOBAL_USERS = {
    "id": "uuid",
    "email": "text",
    "name": "text?",
    "password_hash": "text?",
    "role": "text",
    "state": "text",
    "totp_secret": "bytea?",
    "totp_enabled": "boolean",
    "last_login_at": "timestamp with time zone?",
    "created_at": "timestamp with time zone",
    "updated_at": "timestamp with time zone",
}
SYSTEM_CONFIG = {
    "key": "text",
    "value": "jsonb",
    "value_type": "text",
    "is_secret": "boolean",
    "description": "text",
    "updated_at": "timestamp with time zone",
}
SUBDOMAIN_HOLDS = {
    "subdomain": "text",
    "why": "text",
    "tenant_id": "uuid",
    "until": "timestamp with time zone?",
    "created_at": "timestamp with time zone",
}

SOMEBODY = "0f8fad5b-d9cb-469f-a165-70867728950e"
A_TENANT = {
    "id": SOMEBODY,
    "name": "Acme",
    "subdomain": "acme",
    "state": "provisioning",
    "tier": "starter",
    "admin_email": "ada@acme.test",
}
A_HOLD = {"subdomain": "acme", "why": "released", "tenant_id": SOMEBODY, "until": "2030-01-01"}
AN_ADMIN = {"email": "ada@example.com", "role": "admin"}
A_SETTING = {"key": "motto", "value": Jsonb("hello"), "value_type": "string"}


def _insert(tx: psycopg.Connection, table: str, row: Mapping[str, object]) -> None:
    query = psycopg.sql.SQL("INSERT INTO public.{} ({}) VALUES ({})").format(
        psycopg.sql.Identifier(table),
        psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, row)),
        psycopg.sql.SQL(", ").join(map(psycopg.sql.Placeholder, row)),
    )
    tx.execute(query, row)


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("tenants", TENANTS),
        ("global_users", GLOBAL_USERS),
        ("system_config", SYSTEM_CONFIG),
        ("subdomain_holds", SUBDOMAIN_HOLDS),
    ],
)
def test_a_table_has_exactly_these_columns(
    tx: psycopg.Connection, table: str, columns: dict[str, str]
) -> None:
    found = tx.execute(
        "SELECT column_name, data_type || CASE is_nullable WHEN 'YES' THEN '?' ELSE '' END"
        " FROM information_schema.columns WHERE table_schema = 'public' AND table_name = %s",
        [table],
    )
    assert dict(found.fetchall()) == columns


@pytest.mark.parametrize(
    ("table", "row", "change", "constraint"),
    [
        ("tenants", A_TENANT, {"state": "pending"}, "ck_tenants_state"),
        ("tenants", A_TENANT, {"state": ""}, "ck_tenants_state"),
        ("tenants", A_TENANT, {"tier": "platinum"}, "ck_tenants_tier"),
        ("tenants", A_TENANT, {"subdomain": "ab"}, "ck_tenants_subdomain"),
        ("tenants", A_TENANT, {"subdomain": "Acme"}, "ck_tenants_subdomain"),
        ("tenants", A_TENANT, {"subdomain": "-acme"}, "ck_tenants_subdomain"),
        ("tenants", A_TENANT, {"subdomain": "acme-"}, "ck_tenants_subdomain"),
        ("tenants", A_TENANT, {"subdomain": "a.b.c"}, "ck_tenants_subdomain"),
        ("tenants", A_TENANT, {"subdomain": "acme\n"}, "ck_tenants_subdomain"),
        ("tenants", A_TENANT, {"subdomain": "acme\nx"}, "ck_tenants_subdomain"),
        ("tenants", A_TENANT, {"subdomain": "acmé"}, "ck_tenants_subdomain"),
        ("tenants", A_TENANT, {"subdomain": "a" * 64}, "ck_tenants_subdomain"),
        ("tenants", A_TENANT, {"name": ""}, "ck_tenants_name"),
        ("tenants", A_TENANT, {"name": "Acme\r\nBcc: x"}, "ck_tenants_name"),
        ("tenants", A_TENANT, {"name": "Ac\tme"}, "ck_tenants_name"),
        ("subdomain_holds", A_HOLD, {"why": "taste"}, "ck_subdomain_holds_why"),
        ("subdomain_holds", A_HOLD, {"until": None}, "ck_subdomain_holds_until"),
        ("subdomain_holds", A_HOLD, {"why": "rename"}, "ck_subdomain_holds_until"),
        ("global_users", AN_ADMIN, {"role": "developer"}, "ck_global_users_role"),
        ("global_users", AN_ADMIN, {"state": "sleeping"}, "ck_global_users_state"),
        ("system_config", A_SETTING, {"value_type": "float"}, "ck_system_config_value_type"),
        ("installation", {"singleton": False}, {}, "ck_installation_singleton"),
    ],
)
def test_a_value_outside_its_list_is_refused_by_name(
    tx: psycopg.Connection,
    table: str,
    row: dict[str, object],
    change: dict[str, object],
    constraint: str,
) -> None:
    with pytest.raises(CheckViolation) as caught:
        _insert(tx, table, {**row, **change})
    assert caught.value.diag.constraint_name == constraint


@pytest.mark.parametrize(
    ("table", "row", "again", "constraint"),
    [
        ("tenants", A_TENANT, {"subdomain": "other"}, "pk_tenants"),
        ("tenants", A_TENANT, {"id": "7c9e6679-7425-40de-944b-e07fc1f90ae7"}, "subdomain_held"),
        ("global_users", AN_ADMIN, {}, "uq_global_users_email"),
        ("global_users", AN_ADMIN, {"email": "ADA@Example.COM"}, "uq_global_users_email"),
        ("system_config", A_SETTING, {}, "pk_system_config"),
        ("installation", {}, {"singleton": True}, "uq_installation_singleton"),
    ],
)
def test_what_must_be_there_once_is_refused_the_second_time(
    tx: psycopg.Connection,
    table: str,
    row: dict[str, object],
    again: dict[str, object],
    constraint: str,
) -> None:
    if row:
        _insert(tx, table, row)
    with pytest.raises(UniqueViolation) as caught:
        _insert(tx, table, {**row, **again})
    assert (caught.value.diag.constraint_name or "").endswith(constraint)


@pytest.mark.parametrize("state", ["failed", "purged"])
def test_a_tenant_that_let_go_of_its_subdomain_leaves_it_to_others(
    tx: psycopg.Connection, state: str
) -> None:
    _insert(tx, "tenants", {**A_TENANT, "state": state})
    _insert(tx, "tenants", {**A_TENANT, "id": "7c9e6679-7425-40de-944b-e07fc1f90ae7"})


@pytest.mark.parametrize(
    "state", ["provisioning", "active", "suspended", "deleting", "deleted", "purging"]
)
def test_every_other_tenant_holds_its_subdomain(tx: psycopg.Connection, state: str) -> None:
    _insert(tx, "tenants", {**A_TENANT, "state": state})
    with pytest.raises(UniqueViolation, match="uq_tenants_subdomain_held"):
        _insert(tx, "tenants", {**A_TENANT, "id": "7c9e6679-7425-40de-944b-e07fc1f90ae7"})


def test_a_schemas_name_follows_from_the_id_and_cannot_be_given(tx: psycopg.Connection) -> None:
    _insert(tx, "tenants", A_TENANT)
    names = tx.execute("SELECT schema_name FROM public.tenants").fetchall()
    assert names == [("tenant_0f8fad5bd9cb469fa16570867728950e",)]
    with pytest.raises(GeneratedAlways):
        tx.execute("UPDATE public.tenants SET schema_name = 'public'")


def test_there_is_one_installation_and_the_default_tier(tx: psycopg.Connection) -> None:
    row = tx.execute(
        "SELECT count(*), (SELECT value FROM public.system_config"
        " WHERE key = 'default_subscription_tier') FROM public.installation"
    ).fetchone()
    assert row == (1, "starter")


def test_nobody_can_log_in_after_an_installation(tx: psycopg.Connection) -> None:
    row = tx.execute(
        "SELECT (SELECT count(*) FROM public.global_users), count(*) FROM public.api_tokens"
    ).fetchone()
    assert row == (0, 0)


def test_every_moment_is_stored_with_its_time_zone(tx: psycopg.Connection) -> None:
    naive = tx.execute(
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = 'public'"
        " AND data_type IN ('timestamp without time zone', 'time without time zone', 'date')"
    )
    assert naive.fetchall() == []


_GAPS = """
SELECT conrelid::regclass::text, conname FROM pg_constraint k
WHERE contype = 'f' AND connamespace = 'public'::regnamespace AND NOT EXISTS (
  SELECT FROM pg_index i WHERE i.indrelid = k.conrelid AND i.indpred IS NULL
  AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey)
"""


def test_every_foreign_key_has_an_index_that_begins_with_it(tx: psycopg.Connection) -> None:
    assert tx.execute(_GAPS).fetchall() == []


def test_a_foreign_key_without_its_index_would_be_noticed(tx: psycopg.Connection) -> None:
    tx.execute("DROP INDEX public.ix_api_tokens_user_id")
    assert tx.execute(_GAPS).fetchall() == [("api_tokens", "fk_api_tokens_user_id")]


def test_no_foreign_key_leads_out_of_the_public_schema(tx: psycopg.Connection) -> None:
    out = tx.execute(
        "SELECT conname FROM pg_constraint k JOIN pg_class c ON c.oid = k.confrelid"
        " WHERE k.contype = 'f' AND k.connamespace = 'public'::regnamespace"
        " AND c.relnamespace <> k.connamespace"
    )
    assert out.fetchall() == []


@pytest.mark.parametrize(
    ("table", "condition", "index"),
    [
        ("tenants", "state = 'active'", "ix_tenants_state"),
        ("tenants", "true ORDER BY created_at DESC, id DESC", "ix_tenants_created_at_id"),
        ("tenants", "subdomain = 'a' AND state NOT IN ('failed', 'purged')", "subdomain_held"),
        ("global_users", "lower(email) = 'a'", "uq_global_users_email"),
        ("api_tokens", "token_hash = ''", "uq_api_tokens_token_hash"),
        (
            "operations",
            "run_at < now() AND state IN ('pending', 'running', 'unwinding')",
            "ix_operations_runnable",
        ),
        ("operations", "true ORDER BY created_at DESC, id DESC", "ix_operations_created_at_id"),
        ("operations", f"tenant_id = '{SOMEBODY}' AND finished_at IS NULL", "uq_operations_live"),
        ("operation_events", f"operation_id = '{SOMEBODY}' ORDER BY seq", "pk_operation_events"),
        (
            "email_deliveries",
            "state IN ('queued', 'sending') AND run_at < now() ORDER BY run_at",
            "ix_email_deliveries_due",
        ),
        (
            "tenant_resources",
            "kind = 'dns' AND external_id = 'acme'",
            "ix_tenant_resources_kind_external_id",
        ),
        ("subdomain_holds", "subdomain = 'acme'", "pk_subdomain_holds"),
        ("idempotency_keys", "expires_at < now()", "ix_idempotency_keys_expires_at"),
        ("audit_log", "true ORDER BY at DESC, id DESC", "ix_audit_log_at_id"),
    ],
)
def test_a_frequent_question_finds_its_index(
    tx: psycopg.Connection, table: str, condition: str, index: str
) -> None:
    # Without rows the planner must be told that reading the whole table is out of the question.
    tx.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
    plan = tx.execute(f"EXPLAIN SELECT FROM public.{table} WHERE {condition}".encode()).fetchall()
    assert index in str(plan)
