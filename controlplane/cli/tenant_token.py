"""What `controlplane token tenant` does."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane import settings
from controlplane.domain.principals import Principal, PrincipalKind
from controlplane.domain.tenants import Tenant
from controlplane.errors import SettingsInvalid, TenantNotFound
from controlplane.identity.keys import signed_tokens
from controlplane.store import audit, tenants
from controlplane.store.audit import Actor
from controlplane.tenancy.admin import admin_id


async def signed(
    conn: AsyncConnection, which: str, *, roles: frozenset[str], lifetime: timedelta
) -> str:
    """A token of the tenant's first admin with these roles, noted in the audit log.

    Raises SettingsInvalid without a key and TenantNotFound.
    """
    tokens = signed_tokens(settings.load())
    if tokens is None:
        raise SettingsInvalid("CONTROLPLANE_TENANT_TOKEN_KEY must be set to sign tokens with.")
    tenant = await _tenant(conn, which)
    speaker = Principal(admin_id(tenant.id), tenant.id, roles, PrincipalKind.USER)
    told = {"roles": sorted(roles), "seconds": int(lifetime.total_seconds())}
    await audit.write(conn, Actor(None, "cli"), "tenant.token", tenant_id=tenant.id, after=told)
    return tokens.issue(speaker, lifetime=lifetime)


async def _tenant(conn: AsyncConnection, which: str) -> Tenant:
    try:
        return await tenants.get(conn, UUID(which))
    except ValueError:
        pass
    found = await tenants.page(conn, limit=1, subdomain=which.lower())
    if not found:
        raise TenantNotFound(f"There is no tenant at '{which}'.")
    return found[0]
