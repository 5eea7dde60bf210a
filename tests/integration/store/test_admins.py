"""A token speaks for an active admin until it expires or is revoked; only its hash is stored."""

import hashlib
from typing import Any

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.errors import Conflict, NotFound
from controlplane.store import admins
from controlplane.store.admin_tables import AdminRole, api_tokens, global_users
from controlplane.store.admins import Principal, Scope, new_token

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]

ADA = "ada@example.com"


@pytest.fixture
async def token(conn: AsyncConnection) -> str:
    """Ada's; Bob, who is everything that she is, has one too."""
    for email in (ADA, "bob@example.com"):
        await admins.add_admin(conn, email=email, name=None, role=AdminRole.ADMIN)
    await admins.add_token(conn, email="bob@example.com", name="ci")
    return await admins.add_token(conn, email=ADA, name="ci")


async def test_a_token_speaks_for_its_admin(conn: AsyncConnection, token: str) -> None:
    found = await admins.principal_of(conn, token)
    assert found is not None
    expected = Principal(found.id, ADA, AdminRole.ADMIN, frozenset({Scope.READ, Scope.WRITE}))
    assert found == expected


async def test_a_token_has_the_scopes_that_it_was_given(conn: AsyncConnection, token: str) -> None:
    narrow = await admins.add_token(conn, email=ADA, name="r", scopes=frozenset({Scope.READ}))
    found = await admins.principal_of(conn, narrow)
    assert found is not None
    assert found.scopes == {Scope.READ}
    assert narrow != token


async def test_only_the_hash_is_stored(conn: AsyncConnection, token: str) -> None:
    rows = (await conn.execute(text("SELECT t::text FROM public.api_tokens t"))).scalars().all()
    assert len(rows) == 2
    assert not any(token in row or token[3:-6] in row for row in rows)
    digest = hashlib.sha256(token.encode()).digest()
    stored = (await conn.execute(select(api_tokens.c.token_hash))).scalars().all()
    assert digest in [bytes(one) for one in stored]


@pytest.mark.parametrize("offer", ["", "cp_", "Bearer x", "\x00", "cp_" + "0" * 32 + "2WJYRi"])
async def test_anything_else_speaks_for_nobody(
    conn: AsyncConnection, token: str, offer: str
) -> None:
    assert await admins.principal_of(conn, offer) is None
    assert await admins.principal_of(conn, new_token()) is None
    assert await admins.principal_of(conn, token.swapcase()) is None


@pytest.mark.parametrize(
    ("table", "change"),
    [
        (api_tokens, {"expires_at": text("now() - interval '1 second'")}),
        (api_tokens, {"revoked_at": func.now()}),
        (api_tokens, {"revoked_at": text("now() + interval '1 hour'")}),
        (global_users, {"state": "disabled"}),
    ],
)
async def test_a_token_that_ended_speaks_for_nobody(
    conn: AsyncConnection, token: str, table: Any, change: dict[str, Any]
) -> None:
    assert await admins.principal_of(conn, token) is not None
    await conn.execute(update(table).values(**change))
    assert await admins.principal_of(conn, token) is None


async def test_a_token_with_time_left_is_good(conn: AsyncConnection, token: str) -> None:
    later = text("now() + interval '1 second'")
    await conn.execute(update(api_tokens).values(expires_at=later))
    assert await admins.principal_of(conn, token) is not None


async def test_disabling_one_admin_leaves_the_other_alone(
    conn: AsyncConnection, token: str
) -> None:
    bobs = await admins.add_token(conn, email="bob@example.com", name="second")
    await conn.execute(
        update(global_users).where(global_users.c.email == ADA).values(state="disabled")
    )
    assert await admins.principal_of(conn, token) is None
    assert await admins.principal_of(conn, bobs) is not None


@pytest.mark.parametrize(("seconds_ago", "noted"), [(59, 59), (61, 0)])
async def test_the_use_of_a_token_is_noted_at_most_once_a_minute(
    conn: AsyncConnection, token: str, seconds_ago: int, noted: int
) -> None:
    used = api_tokens.c.last_used_at
    await admins.principal_of(conn, token)
    ago = text("now() - make_interval(secs => :ago)").bindparams(ago=seconds_ago)
    await conn.execute(update(api_tokens).where(used.is_not(None)).values(last_used_at=ago))
    await admins.principal_of(conn, token)
    elapsed = func.date_part("epoch", func.now() - used)
    assert (await conn.execute(select(elapsed).where(used.is_not(None)))).scalar_one() == noted


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize("email", [ADA, "ADA@example.com", "Ada@Example.Com"])
async def test_an_address_belongs_to_one_admin_however_it_is_written(
    conn: AsyncConnection, email: str
) -> None:
    with pytest.raises(Conflict, match="already"):
        await admins.add_admin(conn, email=email, name=None, role=AdminRole.SUPPORT)


async def test_a_token_is_made_for_an_admin_however_the_address_is_written(
    conn: AsyncConnection, token: str
) -> None:
    other = await admins.add_token(conn, email="ADA@Example.com", name="laptop")
    found, same = await admins.principal_of(conn, other), await admins.principal_of(conn, token)
    assert found == same


async def test_an_admins_tokens_of_a_name_are_revoked_and_no_others(
    conn: AsyncConnection, token: str
) -> None:
    second = await admins.add_token(conn, email=ADA, name="ci")
    kept = [
        await admins.add_token(conn, email=ADA, name="laptop"),
        await admins.add_token(conn, email="bob@example.com", name="ci"),
    ]
    assert await admins.revoke_tokens(conn, email="ADA@example.com", name="ci") == 2
    assert [await admins.principal_of(conn, ended) for ended in (token, second)] == [None, None]
    assert all([await admins.principal_of(conn, good) for good in kept])
    assert await admins.revoke_tokens(conn, email=ADA, name="ci") == 0


async def test_no_token_is_revoked_of_somebody_who_is_no_admin(conn: AsyncConnection) -> None:
    with pytest.raises(NotFound, match=r"'eve@example\.com'"):
        await admins.revoke_tokens(conn, email="eve@example.com", name="ci")


async def test_nobody_gets_a_token_who_is_no_admin(conn: AsyncConnection) -> None:
    with pytest.raises(NotFound, match=r"'eve@example\.com'"):
        await admins.add_token(conn, email="eve@example.com", name="ci")
