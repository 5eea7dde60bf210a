"""The first admin, its setup link and the end of sessions, inside one tenant alone."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from controlplane.domain.naming import schema_name
from controlplane.tenancy.admin import (
    admin_exists,
    create_admin,
    hash_token,
    mint_setup_token,
    remove_admin,
    revoke_sessions,
)
from controlplane.tenancy.scope import tenant_scope

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]

HOURS = timedelta(hours=72)


@pytest.fixture
async def tenant_id(place, template):
    return await place.tenant(template, rows=False)


async def _admin(place, tenant_id, email=" Grace@Example.test "):
    async with place.owner() as conn:
        return await create_admin(conn, tenant_id=tenant_id, email=email, name="Grace")


async def test_the_admin_has_its_role_a_normalised_address_and_no_password(place, tenant_id):
    user_id = await _admin(place, tenant_id)
    with place.owned(tenant_id) as connection:
        row = connection.execute(
            "SELECT u.id, u.email, u.name, u.password_hash, r.name FROM users u"
            " JOIN user_roles ON user_id = u.id JOIN roles r ON r.id = role_id"
        ).fetchall()
    assert row == [(user_id, "grace@example.test", "Grace", None, "tenant_admin")]


async def test_creating_the_admin_again_changes_nothing(place, tenant_id):
    first = await _admin(place, tenant_id)
    assert await _admin(place, tenant_id, "another@example.test") == first
    with place.owned(tenant_id) as connection:
        emails = connection.execute("SELECT email FROM users").fetchall()
    assert emails == [("grace@example.test",)]


async def test_the_admin_can_be_removed_with_its_tokens_and_removed_again(place, tenant_id):
    user_id = await _admin(place, tenant_id)
    async with place.owner() as conn:
        await mint_setup_token(conn, tenant_id=tenant_id, user_id=user_id, ttl=HOURS)
        assert await admin_exists(conn, tenant_id=tenant_id)
        await remove_admin(conn, tenant_id=tenant_id)
        await remove_admin(conn, tenant_id=tenant_id)
        assert not await admin_exists(conn, tenant_id=tenant_id)
    with place.owned(tenant_id) as connection:
        assert connection.execute("SELECT count(*) FROM secure_tokens").fetchone() == (0,)


async def test_a_disabled_admin_does_not_count(place, tenant_id):
    await _admin(place, tenant_id)
    with place.owned(tenant_id) as connection:
        connection.execute("UPDATE users SET state = 'disabled'")
    async with place.owner() as conn:
        assert not await admin_exists(conn, tenant_id=tenant_id)


async def test_only_the_newest_setup_token_is_good_and_only_its_hash_is_stored(place, tenant_id):
    user_id = await _admin(place, tenant_id)
    async with place.owner() as conn:
        first = await mint_setup_token(conn, tenant_id=tenant_id, user_id=user_id, ttl=HOURS)
        second = await mint_setup_token(conn, tenant_id=tenant_id, user_id=user_id, ttl=HOURS)
    assert first != second
    with place.owned(tenant_id) as connection:
        live = connection.execute(
            "SELECT token_hash, expires_at FROM secure_tokens"
            " WHERE purpose = 'setup' AND revoked_at IS NULL AND used_at IS NULL"
        ).fetchall()
        everything = connection.execute("SELECT secure_tokens::text FROM secure_tokens").fetchall()
    assert [row[0] for row in live] == [hash_token(second)]
    assert abs(live[0][1] - datetime.now(UTC) - HOURS) < timedelta(minutes=10)
    assert len(everything) == 2
    assert not any(first in row[0] or second in row[0] for row in everything)


async def test_sessions_end_in_this_tenant_only(place, template):
    ours, theirs = await place.tenant(template), await place.tenant(template)
    async with place.owner() as conn:
        assert await revoke_sessions(conn, tenant_id=ours) == 1
        assert await revoke_sessions(conn, tenant_id=ours) == 0
    with place.owned(theirs) as connection:
        live = connection.execute("SELECT count(*) FROM sessions WHERE revoked_at IS NULL")
        assert live.fetchone() == (1,)


async def _fail_inside(conn, tenant_id):
    async with tenant_scope(conn, tenant_id):
        path = await conn.scalar(text("SHOW search_path"))
        assert path == f"{schema_name(tenant_id)}, pg_temp"
        raise ZeroDivisionError


async def test_a_scope_ends_with_its_block_even_where_the_block_fails(place, tenant_id):
    async with place.owner() as conn:
        with pytest.raises(ZeroDivisionError):
            await _fail_inside(conn, tenant_id)
        assert await conn.scalar(text("SHOW search_path")) == "pg_catalog, pg_temp"
        assert await conn.scalar(text("SELECT current_setting('app.current_tenant_id')")) == ""


async def test_a_failed_statement_in_a_scope_is_what_the_caller_sees(place, tenant_id):
    with pytest.raises(Exception, match="division by zero"):
        async with place.owner() as conn, tenant_scope(conn, tenant_id):
            await conn.execute(text("SELECT 1/0"))
