"""Global admins and their bearer tokens. A token's hash is stored, the token itself never."""

import hashlib
import secrets
import string
import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.errors import Conflict, NotFound
from controlplane.store.admin_tables import AdminRole, AdminState, api_tokens, global_users

_ALPHABET = string.digits + string.ascii_letters
_RANDOM_CHARACTERS = 32
_CHECKSUM_CHARACTERS = 6


class Scope(StrEnum):
    """What a token may be used for; a role limits it further."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True)
class Principal:
    """Who a valid token speaks for."""

    id: UUID
    email: str
    role: AdminRole
    scopes: frozenset[Scope]


def new_token() -> str:
    """`cp_`, 32 random characters of base 62 and a checksum, so that a scanner can tell a leaked
    token from noise without asking us."""
    body = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_CHARACTERS))
    return f"cp_{body}{_checksum(body)}"


def well_formed(token: str) -> bool:
    """Whether it can be a token at all; saves the database from guesses."""
    body, checksum = token[3:-_CHECKSUM_CHARACTERS], token[-_CHECKSUM_CHARACTERS:]
    right = token.startswith("cp_") and len(body) == _RANDOM_CHARACTERS
    return right and token.isascii() and checksum == _checksum(body)


def _checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(_CHECKSUM_CHARACTERS):
        number, rest = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[rest] + digits
    return digits


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


async def add_admin(
    conn: AsyncConnection, *, email: str, name: str | None, role: AdminRole
) -> UUID:
    """Enter a global admin. Raises Conflict where the address is in use."""
    row = insert(global_users).values(email=email.lower(), name=name, role=role)
    try:
        made: UUID = (await conn.execute(row.returning(global_users.c.id))).scalar_one()
    except IntegrityError as error:
        raise Conflict(f"There is a global admin with the address '{email}' already.") from error
    return made


async def add_token(
    conn: AsyncConnection,
    *,
    email: str,
    name: str,
    scopes: frozenset[Scope] = frozenset(Scope),
    expires_at: datetime | None = None,
) -> str:
    """Make a token for an admin and return it, this once. Raises NotFound."""
    user_id = await _admin_id(conn, email)
    token = new_token()
    await conn.execute(
        insert(api_tokens).values(
            user_id=user_id,
            name=name,
            token_hash=_hash(token),
            scopes=sorted(scopes),
            expires_at=expires_at,
        )
    )
    return token


async def revoke_tokens(conn: AsyncConnection, *, email: str, name: str) -> int:
    """End the admin's tokens of that name at once; how many there were. Raises NotFound."""
    c = api_tokens.c
    ended = await conn.execute(
        update(api_tokens)
        .where(
            c.user_id == await _admin_id(conn, email),
            c.name == name,
            c.revoked_at.is_(None),
        )
        .values(revoked_at=func.now())
    )
    return ended.rowcount


async def _admin_id(conn: AsyncConnection, email: str) -> UUID:
    c = global_users.c
    found = await conn.execute(select(c.id).where(func.lower(c.email) == email.lower()))
    user_id: UUID | None = found.scalar_one_or_none()
    if user_id is None:
        raise NotFound(f"There is no global admin with the address '{email}'.")
    return user_id


async def principal_of(conn: AsyncConnection, token: str) -> Principal | None:
    """Whom a token speaks for; None for an unknown, expired or revoked one."""
    if not well_formed(token):
        return None
    t, u = api_tokens.c, global_users.c
    query = (
        select(t.id.label("token_id"), t.scopes, u.id, u.email, u.role)
        .join(global_users, u.id == t.user_id)
        .where(
            t.token_hash == _hash(token),
            t.revoked_at.is_(None),
            func.coalesce(t.expires_at, func.now()) >= func.now(),
            u.state == AdminState.ACTIVE,
        )
    )
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        return None
    await _note_use(conn, row.token_id)
    scopes = frozenset(Scope(scope) for scope in row.scopes)
    return Principal(row.id, row.email, AdminRole(row.role), scopes)


async def _note_use(conn: AsyncConnection, token_id: UUID) -> None:
    """Once a minute is enough: a busy token must not become a busy row."""
    c = api_tokens.c
    stale = func.coalesce(c.last_used_at, func.to_timestamp(0)) < func.now() - timedelta(minutes=1)
    await conn.execute(
        update(api_tokens).where(c.id == token_id, stale).values(last_used_at=func.now())
    )
