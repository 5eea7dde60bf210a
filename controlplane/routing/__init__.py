"""What an app server embeds: from a host name to transactions that see one tenant only."""

from controlplane.routing.bulkhead import Bulkhead, SyncBulkhead
from controlplane.routing.cursors import settled
from controlplane.routing.directory import TenantDirectory
from controlplane.routing.jobs import (
    job_scope,
    job_scope_sync,
    stamped,
    streamed,
    streamed_sync,
)
from controlplane.routing.known import Ages
from controlplane.routing.listening import listen, listening
from controlplane.routing.middleware import TenantMiddleware, refused
from controlplane.routing.only import OnlyTenant, only_tenant
from controlplane.routing.pools import PoolFigures, pool_figures
from controlplane.routing.resolve import Asked, PathPrefix, TokenClaim, TrustedHeader
from controlplane.routing.revisions import Revisions
from controlplane.routing.safety import check_login
from controlplane.routing.sync import SyncTenancy
from controlplane.routing.sync_directory import SyncTenantDirectory
from controlplane.routing.tenant import RoutedTenant, current_tenant, tenant_scope
from controlplane.routing.transactions import Tenancy
from controlplane.routing.violations import Violation, hear, hear_sync
from controlplane.routing.wsgi import TenantWSGIMiddleware

__all__ = [
    "Ages",
    "Asked",
    "Bulkhead",
    "OnlyTenant",
    "PathPrefix",
    "PoolFigures",
    "Revisions",
    "RoutedTenant",
    "SyncBulkhead",
    "SyncTenancy",
    "SyncTenantDirectory",
    "Tenancy",
    "TenantDirectory",
    "TenantMiddleware",
    "TenantWSGIMiddleware",
    "TokenClaim",
    "TrustedHeader",
    "Violation",
    "check_login",
    "current_tenant",
    "hear",
    "hear_sync",
    "job_scope",
    "job_scope_sync",
    "listen",
    "listening",
    "only_tenant",
    "pool_figures",
    "refused",
    "settled",
    "stamped",
    "streamed",
    "streamed_sync",
    "tenant_scope",
]
