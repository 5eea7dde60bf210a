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
from controlplane.routing.listening import listen
from controlplane.routing.middleware import TenantMiddleware, refused
from controlplane.routing.resolve import Asked, PathPrefix, TokenClaim, TrustedHeader
from controlplane.routing.safety import check_login
from controlplane.routing.sync import SyncTenancy
from controlplane.routing.sync_directory import SyncTenantDirectory
from controlplane.routing.tenant import RoutedTenant, current_tenant, tenant_scope
from controlplane.routing.transactions import Tenancy
from controlplane.routing.wsgi import TenantWSGIMiddleware

__all__ = [
    "Ages",
    "Asked",
    "Bulkhead",
    "PathPrefix",
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
    "check_login",
    "current_tenant",
    "job_scope",
    "job_scope_sync",
    "listen",
    "refused",
    "settled",
    "stamped",
    "streamed",
    "streamed_sync",
    "tenant_scope",
]
