"""What a tenant's state answers to a request. Pure."""

from typing import assert_never

from controlplane.domain.tenants import TenantState
from controlplane.errors import TenantNotFound, TenantNotReady, TenantSuspended
from controlplane.routing.tenant import RoutedTenant


def admitted(tenant: RoutedTenant | None, *, subdomain: str) -> RoutedTenant:
    """The tenant, if it is to be served; None stands for a subdomain that nobody holds.

    Raises TenantNotFound, TenantSuspended or TenantNotReady: the answer to the request.
    """
    absent = TenantNotFound(f"There is no tenant at '{subdomain}'.")
    if tenant is None:
        raise absent
    match tenant.state:
        case TenantState.ACTIVE:
            return tenant
        case TenantState.SUSPENDED:
            raise TenantSuspended(f"The tenant '{subdomain}' is suspended.")
        case TenantState.PROVISIONING:
            raise TenantNotReady(f"The tenant '{subdomain}' is being set up; try again shortly.")
        case (
            # The words of the first case: nobody may find out which tenants once were here.
            TenantState.DELETING
            | TenantState.DELETED
            | TenantState.PURGING
            | TenantState.PURGED
            | TenantState.FAILED
        ):
            raise absent
        case _:
            assert_never(tenant.state)
