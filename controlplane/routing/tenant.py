"""The tenant that a request is for, and the scope in which it is the current one."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from uuid import UUID

from controlplane.domain.naming import SchemaName, schema_name
from controlplane.domain.tenants import TenantState
from controlplane.errors import MissingTenantContext, TenantContextConflict


@dataclass(frozen=True)
class RoutedTenant:
    """A row of public.tenant_registry.

    `tier` is text: an app server may be older than a tier. `revision` is the comma-joined set of
    template heads, None until the schema stands. `moved_to` is the host that requests for the one
    that was asked for are sent on to; None where it is served itself.
    """

    id: UUID
    subdomain: str
    name: str
    state: TenantState
    tier: str
    revision: str | None
    moved_to: str | None = None

    @property
    def schema(self) -> SchemaName:
        return schema_name(self.id)


_current: ContextVar[RoutedTenant] = ContextVar("controlplane_tenant")


def current_tenant() -> RoutedTenant:
    """The tenant of the scope we are in. Raises MissingTenantContext outside of one."""
    tenant = _current.get(None)
    if tenant is None:
        raise MissingTenantContext(
            "No tenant is in scope here: enter `tenant_scope(tenant)`, or name the tenant."
        )
    return tenant


@contextmanager
def tenant_scope(tenant: RoutedTenant) -> Iterator[None]:
    """Make the tenant the current one.

    May be entered again for the same tenant; raises TenantContextConflict for another, because
    whoever changes tenants half-way has mixed up whose data he holds.
    """
    check_scope(tenant.id)
    token = _current.set(tenant)
    try:
        yield
    finally:
        _current.reset(token)


def scoped_context(tenant: RoutedTenant) -> Context:
    """A copy of this context in which the tenant is the current one, for what runs piece by piece
    and must leave nothing behind. Raises TenantContextConflict as `tenant_scope`."""
    check_scope(tenant.id)
    context = copy_context()
    context.run(_current.set, tenant)
    return context


def check_scope(tenant_id: UUID) -> None:
    """Raises TenantContextConflict inside the scope of another tenant."""
    current = _current.get(None)
    if current is not None and current.id != tenant_id:
        raise TenantContextConflict(
            f"Tenant {tenant_id} was asked for in the scope of tenant {current.id}."
        )
