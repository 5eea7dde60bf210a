"""What an app server embeds: from a host name to transactions that see one tenant only."""

from controlplane.routing.bulkhead import Bulkhead, SyncBulkhead
from controlplane.routing.cursors import settled
from controlplane.routing.directory import TenantDirectory
from controlplane.routing.middleware import TenantMiddleware
from controlplane.routing.safety import check_login
from controlplane.routing.sync import SyncTenancy
from controlplane.routing.tenant import RoutedTenant, current_tenant, tenant_scope
from controlplane.routing.transactions import Tenancy

__all__ = [
    "Bulkhead",
    "RoutedTenant",
    "SyncBulkhead",
    "SyncTenancy",
    "Tenancy",
    "TenantDirectory",
    "TenantMiddleware",
    "check_login",
    "current_tenant",
    "settled",
    "tenant_scope",
]
