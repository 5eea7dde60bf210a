"""Rows of public.tenant_domains. Functions take a connection and never commit.

A due row is claimed by moving its `check_at` on: that moment is the lease, and whoever holds it
writes only while it still stands there. Who asks for a look now takes it from him.
"""

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, exists, func, insert, null, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.own_domains import DomainState, Standing, Verdict
from controlplane.domain.own_hosts import Host
from controlplane.errors import DomainNotFound, DomainTaken
from controlplane.store.domain_tables import tenant_domains as table
from controlplane.store.tenant_tables import tenants

CHANNEL = "controlplane_domains"
_UNIQUE_VERIFIED = "uq_tenant_domains_host_verified"


@dataclass(frozen=True)
class Domain:
    """A host that a tenant has claimed. `challenge` is what the TXT record must say."""

    id: UUID
    tenant_id: UUID
    host: Host
    state: DomainState
    challenge: str
    is_primary: bool
    redirects: bool
    points_here: bool | None
    last_error: dict[str, Any] | None
    created_at: datetime
    verified_at: datetime | None
    failing_since: datetime | None
    checked_at: datetime | None
    check_at: datetime | None

    @property
    def standing(self) -> Standing:
        return Standing(
            self.state, self.created_at, self.verified_at, self.failing_since, self.points_here
        )


@dataclass(frozen=True)
class Due:
    """A claimed domain; its `check_at` is the lease. `now` is the database's time of the claim."""

    domain: Domain
    subdomain: str
    now: datetime


async def add(
    conn: AsyncConnection, *, tenant_id: UUID, host: Host, challenge: str, redirects: bool
) -> Domain:
    """Claim a host, and have it looked at. The tenant must not have claimed it yet."""
    row = insert(table).values(
        tenant_id=tenant_id, host=host, challenge=challenge, redirects=redirects
    )
    added = (await conn.execute(row.returning(table))).one()
    await _tell(conn)
    return _domain(added)


async def find(
    conn: AsyncConnection, tenant_id: UUID, host: str, *, lock: bool = False
) -> Domain | None:
    """The tenant's claim of this host, if it has one."""
    query = select(table).where(table.c.tenant_id == tenant_id, table.c.host == host)
    row = (await conn.execute(query.with_for_update() if lock else query)).one_or_none()
    return None if row is None else _domain(row)


async def get(conn: AsyncConnection, tenant_id: UUID, host: str, *, lock: bool = False) -> Domain:
    """Raises DomainNotFound."""
    found = await find(conn, tenant_id, host, lock=lock)
    if found is None:
        raise DomainNotFound(f"The tenant has no domain '{host}'.")
    return found


async def of_tenant(conn: AsyncConnection, tenant_id: UUID) -> list[Domain]:
    """All domains of a tenant, by name."""
    query = select(table).where(table.c.tenant_id == tenant_id).order_by(table.c.host)
    return [_domain(row) for row in await conn.execute(query)]


async def is_taken(conn: AsyncConnection, host: Host, *, by_another_than: UUID) -> bool:
    """Whether another tenant has proven that the host is its own."""
    c = table.c
    held = exists().where(
        c.host == host, c.state == DomainState.VERIFIED, c.tenant_id != by_another_than
    )
    return bool((await conn.execute(select(held))).scalar_one())


async def set_flags(
    conn: AsyncConnection, domain: Domain, *, is_primary: bool, redirects: bool
) -> Domain:
    """Of a tenant's domains at most one is the primary one: another one gives way."""
    c = table.c
    if is_primary:
        others = (c.tenant_id == domain.tenant_id) & (c.id != domain.id)
        await conn.execute(update(table).where(others, c.is_primary).values(is_primary=False))
    change = (
        update(table)
        .where(c.id == domain.id)
        .values(is_primary=is_primary, redirects=redirects)
        .returning(table)
    )
    return _domain((await conn.execute(change)).one())


async def check_now(conn: AsyncConnection, domain: Domain) -> Domain:
    """Have it looked at at once. Who looks at it just now will not write what he saw."""
    change = (
        update(table)
        .where(table.c.id == domain.id)
        .values(check_at=func.clock_timestamp())
        .returning(table)
    )
    changed = (await conn.execute(change)).one()
    await _tell(conn)
    return _domain(changed)


async def remove(conn: AsyncConnection, domain: Domain) -> None:
    """Let go of a host."""
    await conn.execute(delete(table).where(table.c.id == domain.id))


async def forget(conn: AsyncConnection, tenant_id: UUID) -> list[str]:
    """Let go of all hosts of a tenant; they are returned."""
    gone = delete(table).where(table.c.tenant_id == tenant_id).returning(table.c.host)
    return list((await conn.execute(gone)).scalars().all())


async def claim(conn: AsyncConnection, *, limit: int, lease_s: float) -> list[Due]:
    """Take domains that are due for a look; nobody else gets them until the lease is over."""
    now = func.clock_timestamp()
    due = (
        select(table.c.id)
        .where(table.c.check_at <= now)
        .order_by(table.c.check_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    claimed = (
        update(table)
        .where(table.c.id == due.c.id, tenants.c.id == table.c.tenant_id)
        .values(check_at=now + timedelta(seconds=lease_s))
        .returning(table, tenants.c.subdomain, now.label("now"))
    )
    return [Due(_domain(row), row.subdomain, row.now) for row in await conn.execute(claimed)]


async def settle(conn: AsyncConnection, due: Due, verdict: Verdict) -> bool:
    """Write what follows from a look; False, and nothing is written, where the row is not as it was
    claimed. Raises DomainTaken where another tenant was faster: the transaction is over then."""
    c, domain = table.c, due.domain
    now = func.clock_timestamp()
    change = (
        update(table)
        .where(c.id == domain.id, c.check_at == domain.check_at)
        .values(
            state=verdict.state,
            verified_at=verdict.verified_at,
            failing_since=verdict.failing_since,
            points_here=verdict.points_here,
            # None would become JSON's null.
            last_error=null() if verdict.problem is None else verdict.problem,
            checked_at=now,
            check_at=None if verdict.check_after is None else now + verdict.check_after,
        )
    )
    try:
        return (await conn.execute(change)).rowcount == 1
    except IntegrityError as error:
        if _UNIQUE_VERIFIED not in str(error.orig):
            raise
        raise DomainTaken(f"Another tenant has proven '{domain.host}' first.") from error


async def _tell(conn: AsyncConnection) -> None:
    await conn.execute(select(func.pg_notify(CHANNEL, "")))


_COLUMNS = tuple(field.name for field in fields(Domain))


def _domain(row: Row[Any]) -> Domain:
    values = {name: getattr(row, name) for name in _COLUMNS}
    return Domain(**{**values, "state": DomainState(values["state"])})
