"""What a tenant's state answers to a request. Pure."""

from typing import assert_never

from controlplane.domain.tenants import TenantState
from controlplane.errors import TenantNotFound, TenantNotReady, TenantSuspended
from controlplane.routing.tenant import RoutedTenant


def admitted(tenant: RoutedTenant | None, *, asked_for: str) -> RoutedTenant:
    """The tenant, if it is to be served; None stands for one that is not there. `asked_for` is
    what the request said, as in "There is no tenant at 'acme'."

    Raises TenantNotFound, TenantSuspended or TenantNotReady: the answer to the request.
    """
    absent = TenantNotFound(f"There is no tenant {asked_for}.")
    if tenant is None:
        raise absent
    match tenant.state:
        case TenantState.ACTIVE:
            return tenant
        case TenantState.SUSPENDED:
            raise TenantSuspended(f"The tenant {asked_for} is suspended.")
        case TenantState.PROVISIONING:
            raise TenantNotReady(f"The tenant {asked_for} is being set up; try again shortly.")
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
