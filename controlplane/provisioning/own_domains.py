"""What may be asked of a tenant's own domains: add, change, check, remove.

Each function takes a connection, in whose transaction all of it happens or nothing, and never
commits. All raise TenantNotFound and, but for `remove`, InvalidState for a tenant that is neither
active nor suspended; all that name a domain raise DomainNotFound.
"""

import secrets
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.dns_look import challenge_value
from controlplane.domain.own_hosts import Host
from controlplane.domain.tenants import Tenant, TenantState
from controlplane.errors import DomainLimit, DomainTaken, FieldFault, InvalidState, ValidationFailed
from controlplane.store import audit, domains, tenants
from controlplane.store.audit import Actor
from controlplane.store.domains import Domain

_SERVED = (TenantState.ACTIVE, TenantState.SUSPENDED)
_TOKEN_BYTES = 20


async def add(
    conn: AsyncConnection,
    tenant_id: UUID,
    *,
    host: Host,
    redirects: bool,
    at_most: int,
    actor: Actor,
) -> tuple[Domain, bool]:
    """The tenant's claim of the host, and whether it is new: one that it has stays as it is.

    Raises DomainTaken where another tenant has proven the same host, and DomainLimit where this one
    has `at_most` already.
    """
    tenant = await _served(conn, tenant_id)
    known = await domains.find(conn, tenant.id, host)
    if known is not None:
        return known, False
    if await domains.is_taken(conn, host, by_another_than=tenant.id):
        raise DomainTaken(
            f"Another tenant has proven that '{host}' is its own; it must let go of it first."
        )
    if len(await domains.of_tenant(conn, tenant.id)) >= at_most:
        raise DomainLimit(f"The tenant has {at_most} domains, as many as it may; remove one first.")
    challenge = challenge_value(secrets.token_hex(_TOKEN_BYTES))
    added = await domains.add(
        conn, tenant_id=tenant.id, host=host, challenge=challenge, redirects=redirects
    )
    await _told(conn, actor, "add", added, after={"redirects": redirects})
    return added, True


async def change(
    conn: AsyncConnection,
    tenant_id: UUID,
    host: str,
    *,
    is_primary: bool | None,
    redirects: bool | None,
    actor: Actor,
) -> Domain:
    """What is None stays as it is. Who becomes the primary one no longer redirects, and the primary
    one cannot: raises ValidationFailed."""
    await _served(conn, tenant_id)
    domain = await domains.get(conn, tenant_id, host, lock=True)
    primary = domain.is_primary if is_primary is None else is_primary
    redirecting = domain.redirects if redirects is None else redirects
    if is_primary and redirects is None:
        redirecting = False
    if primary and redirecting:
        detail = "The primary domain cannot redirect; make another one the primary one first."
        raise ValidationFailed(detail, [FieldFault("/redirects", "invalid", detail)])
    if (primary, redirecting) == (domain.is_primary, domain.redirects):
        return domain
    changed = await domains.set_flags(conn, domain, is_primary=primary, redirects=redirecting)
    await _told(conn, actor, "change", domain, before=_flags(domain), after=_flags(changed))
    return changed


async def check(conn: AsyncConnection, tenant_id: UUID, host: str, *, actor: Actor) -> Domain:
    """Have a worker look at the domain's DNS at once."""
    await _served(conn, tenant_id)
    domain = await domains.check_now(conn, await domains.get(conn, tenant_id, host, lock=True))
    await _told(conn, actor, "check", domain)
    return domain


async def remove(conn: AsyncConnection, tenant_id: UUID, host: str, *, actor: Actor) -> Domain:
    """Let go of a host, as it was; whatever state the tenant is in."""
    await tenants.get(conn, tenant_id, lock=True)
    domain = await domains.get(conn, tenant_id, host, lock=True)
    await domains.remove(conn, domain)
    await _told(conn, actor, "remove", domain, before={"state": domain.state, **_flags(domain)})
    return domain


async def _served(conn: AsyncConnection, tenant_id: UUID) -> Tenant:
    """The lock makes those who ask of the same tenant wait for each other."""
    tenant = await tenants.get(conn, tenant_id, lock=True)
    if tenant.state not in _SERVED:
        raise InvalidState(
            f"The tenant is {tenant.state}; only one that is active or suspended has domains of "
            "its own that can be changed."
        )
    return tenant


async def _told(
    conn: AsyncConnection,
    actor: Actor,
    verb: str,
    domain: Domain,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    await audit.write(
        conn,
        actor,
        f"domain.{verb}",
        tenant_id=domain.tenant_id,
        target=domain.host,
        before=before,
        after=after,
    )


def _flags(domain: Domain) -> dict[str, Any]:
    return {"is_primary": domain.is_primary, "redirects": domain.redirects}
