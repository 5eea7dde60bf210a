"""Who may claim a subdomain, and rows of public.subdomain_holds.

Functions take a connection and never commit. Claims on one name come one after the other, by a
lock; a name passes from a tenant's row to a hold, and from there to a row, in one transaction, and
a claim looks at both in one statement. So it never finds a name between the two.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, and_, delete, exists, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.naming import Subdomain
from controlplane.domain.tenants import RELEASED, HoldReason
from controlplane.errors import InvalidState, SubdomainQuarantined, SubdomainTaken
from controlplane.store.operation_tables import operations, tenant_resources
from controlplane.store.tenant_tables import subdomain_holds as table
from controlplane.store.tenant_tables import tenants

_RECORD = "dns"


@dataclass(frozen=True)
class Hold:
    """A name that only this tenant may claim. A rename's hold ends with its operation and has no
    `until`; any other is over by itself then, whether or not its row is still there."""

    subdomain: Subdomain
    why: HoldReason
    tenant_id: UUID
    until: datetime | None
    created_at: datetime


async def claim(conn: AsyncConnection, subdomain: Subdomain, tenant_id: UUID) -> None:
    """Prove that the tenant may have the name, and keep all other claims on it out until the
    commit, by when it must have it.

    Its own quarantine does not keep a tenant out. Raises SubdomainTaken and SubdomainQuarantined.
    """
    await _alone(conn, subdomain)
    found = (await conn.execute(_others(subdomain, tenant_id))).one()
    if found.taken:
        raise SubdomainTaken(f"The subdomain '{subdomain}' is taken; choose another.")
    if found.until is not None:
        raise SubdomainQuarantined(
            f"The subdomain '{subdomain}' was in use until lately and is held until "
            f"{_moment(found.until)}; choose another, or ask again then."
        )
    if found.recorded:
        raise SubdomainQuarantined(
            f"A DNS record of the subdomain '{subdomain}' may still be there; choose another, or "
            "ask again once it is removed."
        )


async def _alone(conn: AsyncConnection, subdomain: Subdomain) -> None:
    key = func.hashtextextended(f"controlplane/subdomain/{subdomain}", 0)
    await conn.execute(select(func.pg_advisory_xact_lock(key)))


def _others(subdomain: Subdomain, tenant_id: UUID) -> Any:
    """What speaks against a claim: one statement, hence of one moment."""
    t, h, r = tenants.c, table.c, tenant_resources.c
    having = exists().where(
        t.subdomain == subdomain, t.id != tenant_id, t.state.not_in(sorted(RELEASED))
    )
    held = and_(h.subdomain == subdomain, h.tenant_id != tenant_id)
    renaming = exists().where(held, h.until.is_(None))
    until = select(func.max(h.until)).where(held, h.until > func.clock_timestamp())
    recorded = exists().where(
        r.kind == _RECORD, r.external_id == subdomain, r.tenant_id != tenant_id
    )
    return select(
        (having | renaming).label("taken"),
        until.scalar_subquery().label("until"),
        recorded.label("recorded"),
    )


def _moment(until: datetime) -> str:
    """To the second, rounded up: at that moment the name is free."""
    return f"{(until.astimezone(UTC) + timedelta(seconds=1)):%Y-%m-%dT%H:%M:%SZ}"


async def reserve(conn: AsyncConnection, subdomain: Subdomain, tenant_id: UUID) -> None:
    """Hold a claimed name for the tenant's rename, until that has ended."""
    row = insert(table).values(subdomain=subdomain, why=HoldReason.RENAME, tenant_id=tenant_id)
    # Its own, or it would not have been claimed: of a rename that was ended by hand.
    await conn.execute(row.on_conflict_do_nothing())


async def quarantine(
    conn: AsyncConnection,
    subdomain: Subdomain,
    tenant_id: UUID,
    *,
    why: HoldReason,
    lasting: timedelta,
) -> None:
    """Hold a name for the tenant that lets go of it in this transaction. Never shortens a hold."""
    row = insert(table).values(
        subdomain=subdomain,
        why=why,
        tenant_id=tenant_id,
        until=func.clock_timestamp() + lasting,
        created_at=func.clock_timestamp(),
    )
    # Of another tenant it would be one that is over, or this one could not have had the name.
    later = {
        "tenant_id": row.excluded.tenant_id,
        "until": func.greatest(table.c.until, row.excluded.until),
        "created_at": row.excluded.created_at,
    }
    await conn.execute(
        row.on_conflict_do_update(index_elements=[table.c.subdomain, table.c.why], set_=later)
    )


async def forget(conn: AsyncConnection, subdomain: Subdomain, tenant_id: UUID) -> None:
    """Drop the holds of a name whose tenant has it from now on by its own row."""
    c = table.c
    await conn.execute(delete(table).where(c.subdomain == subdomain, c.tenant_id == tenant_id))


async def end_rename(conn: AsyncConnection, tenant_id: UUID, *, lasting: timedelta) -> None:
    """Let go of the name that the tenant's rename would have led to; none, if there was none."""
    c = table.c
    renamed = (
        delete(table)
        .where(c.tenant_id == tenant_id, c.why == HoldReason.RENAME)
        .returning(c.subdomain)
    )
    for subdomain in (await conn.execute(renamed)).scalars().all():
        await quarantine(conn, subdomain, tenant_id, why=HoldReason.UNDONE, lasting=lasting)


async def of(conn: AsyncConnection, subdomain: Subdomain) -> list[Hold]:
    """The holds of a name that are not over."""
    lasting = table.c.until.is_(None) | (table.c.until > func.clock_timestamp())
    query = select(table).where(table.c.subdomain == subdomain, lasting).order_by(table.c.why)
    return [_hold(row) for row in await conn.execute(query)]


def _hold(row: Row[Any]) -> Hold:
    return Hold(row.subdomain, HoldReason(row.why), row.tenant_id, row.until, row.created_at)


async def end(conn: AsyncConnection, subdomain: Subdomain) -> tuple[list[Hold], list[UUID]]:
    """End every hold of a name before its time; those, and whose records keep it no longer.

    Such a record is one that an abandoned operation may have left. Raises InvalidState while an
    operation is at work on it, or renames a tenant so.
    """
    await _alone(conn, subdomain)
    ended = await of(conn, subdomain)
    strays = [row.tenant_id for row in await conn.execute(_strays(subdomain))]
    renaming = [hold.tenant_id for hold in ended if hold.why is HoldReason.RENAME]
    busy = exists().where(
        operations.c.tenant_id.in_([*strays, *renaming]), operations.c.finished_at.is_(None)
    )
    if (await conn.execute(select(busy))).scalar_one():
        raise InvalidState(
            f"An operation is at work on '{subdomain}'; ask again once it has ended."
        )
    r = tenant_resources.c
    await conn.execute(
        delete(tenant_resources).where(
            r.kind == _RECORD, r.external_id == subdomain, r.tenant_id.in_(strays)
        )
    )
    await conn.execute(delete(table).where(table.c.subdomain == subdomain))
    return ended, strays


def _strays(subdomain: Subdomain) -> Any:
    """Tenants that may have a record of a name which they do not have."""
    r, t = tenant_resources.c, tenants.c
    having = and_(t.subdomain == subdomain, t.state.not_in(sorted(RELEASED)))
    return (
        select(r.tenant_id)
        .join(tenants, t.id == r.tenant_id)
        .where(r.kind == _RECORD, r.external_id == subdomain, ~having)
    )


async def forget_expired(conn: AsyncConnection) -> None:
    """Delete the holds whose time is over."""
    await conn.execute(delete(table).where(table.c.until <= func.clock_timestamp()))
