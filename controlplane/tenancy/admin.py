"""A tenant's first admin and what it signs in with, in the tenant's own schema."""

import hashlib
import secrets
from datetime import datetime, timedelta
from uuid import UUID, uuid5

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.tenancy.account_tables import roles, user_roles, users
from controlplane.tenancy.login_tables import secure_tokens, sessions
from controlplane.tenancy.scope import tenant_scope


def admin_id(tenant_id: UUID) -> UUID:
    """The first admin's id follows from the tenant's: creating twice creates one."""
    return uuid5(tenant_id, "admin")


def hash_token(token: str) -> bytes:
    """What is stored of a token: 256 random bits need no slow hash."""
    return hashlib.sha256(token.encode()).digest()


async def create_admin(
    conn: AsyncConnection, *, tenant_id: UUID, email: str, name: str | None
) -> UUID:
    """The first admin with role `tenant_admin` and no password; returns the user's id.

    Already there: what its owner may have changed since stays.
    """
    user_id = admin_id(tenant_id)
    user = {"id": user_id, "email": email.strip().lower(), "name": name}
    async with tenant_scope(conn, tenant_id):
        await conn.execute(insert(users).values(user).on_conflict_do_nothing())
        role_id = await conn.scalar(select(roles.c.id).where(roles.c.name == "tenant_admin"))
        grant = {"user_id": user_id, "role_id": role_id}
        await conn.execute(insert(user_roles).values(grant).on_conflict_do_nothing())
    return user_id


async def remove_admin(conn: AsyncConnection, *, tenant_id: UUID) -> None:
    """Remove the first admin with its role, tokens and sessions; absent is success."""
    async with tenant_scope(conn, tenant_id):
        await conn.execute(delete(users).where(users.c.id == admin_id(tenant_id)))


async def admin_exists(conn: AsyncConnection, *, tenant_id: UUID) -> bool:
    """Whether the first admin is there, active and holds its role."""
    held = (
        select(users.c.id)
        .join(user_roles, user_roles.c.user_id == users.c.id)
        .join(roles, roles.c.id == user_roles.c.role_id)
        .where(users.c.id == admin_id(tenant_id), users.c.state == "active")
        .where(roles.c.name == "tenant_admin")
    )
    async with tenant_scope(conn, tenant_id):
        return await conn.scalar(held) is not None


async def mint_setup_token(
    conn: AsyncConnection, *, tenant_id: UUID, user_id: UUID, ttl: timedelta
) -> str:
    """A new single-use token for setting the first password; earlier unused ones are revoked.

    The token is returned and stored nowhere; the database holds its SHA-256.
    """
    token = secrets.token_urlsafe(32)
    table = secure_tokens.c
    async with tenant_scope(conn, tenant_id):
        now = await _now(conn)
        await conn.execute(
            update(secure_tokens)
            .where(table.user_id == user_id, table.purpose == "setup")
            .where(table.used_at.is_(None), table.revoked_at.is_(None))
            .values(revoked_at=now)
        )
        await conn.execute(
            insert(secure_tokens).values(
                purpose="setup",
                user_id=user_id,
                token_hash=hash_token(token),
                created_at=now,
                expires_at=now + ttl,
            )
        )
    return token


async def revoke_sessions(conn: AsyncConnection, *, tenant_id: UUID) -> int:
    """End every session of the tenant; returns how many were live."""
    live = sessions.c.revoked_at.is_(None)
    async with tenant_scope(conn, tenant_id):
        revoke = update(sessions).where(live).values(revoked_at=await _now(conn))
        return (await conn.execute(revoke)).rowcount


async def _now(conn: AsyncConnection) -> datetime:
    """The database's clock, asked for before: distributed servers refuse a volatile function in
    an UPDATE, and no two workers' clocks agree."""
    now: datetime = (await conn.execute(select(func.clock_timestamp()))).scalar_one()
    return now
