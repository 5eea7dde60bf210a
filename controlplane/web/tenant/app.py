"""What is served on a tenant's host."""

from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.di import Provide
from prometheus_client import CollectorRegistry

from controlplane.routing import Bulkhead, Tenancy, TenantMiddleware, TokenClaim, hear
from controlplane.routing.violations import Violated
from controlplane.settings import Settings
from controlplane.web.asgi import ASGIApp, templated
from controlplane.web.options import answering_options
from controlplane.web.problems import handlers as exception_handlers
from controlplane.web.ratelimit import RateLimited
from controlplane.web.ratelimit_keys import Limits
from controlplane.web.tenant.context import TenantRequest, no_bad_tokens, tenant_context
from controlplane.web.tenant.info import tenant_info
from controlplane.web.tenant.principals import Principals, spoken_for
from controlplane.web.tenant.settings import change_settings, get_settings
from controlplane.web.tenant.stats import get_stats
from controlplane.wiring import Parts

# Of the app login's connections, what one tenant may hold: the directory, and with it everybody, needs
# them too.
_SHARE = 3
# In line for them; whoever stands there holds none.
_PATIENCE_S = 2.0

router = Router(
    path="/api/tenant",
    tags=["tenant"],
    request_class=TenantRequest,
    guards=[no_bad_tokens],
    dependencies={"context": Provide(tenant_context)},
    route_handlers=[tenant_info, get_settings, change_settings, get_stats],
)


def tenant_app(parts: Parts, *, registry: CollectorRegistry, violated: Violated) -> ASGIApp:
    """The application of tenant hosts, behind the middleware that lets active tenants in.

    From the outside in: whose host it is (and that a token is not another tenant's), who speaks,
    how often he may, and the routes.
    """
    app = Litestar(
        [router],
        # Ours counts outside.
        request_max_body_size=None,
        openapi_config=None,
        logging_config=None,
        exception_handlers=exception_handlers(),
        # What they answer does not rise to the middleware.
        after_exception=[hear],
        state=State({"parts": parts, "tenancy": shared_tenancy(parts)}),
    )
    routes = answering_options(templated(app))
    limited = RateLimited(
        routes,
        counts=parts.counts,
        limits=limits_of(parts.settings),
        proxies=parts.settings.trusted_proxies,
        registry=registry,
    )
    return TenantMiddleware(
        Principals(limited, verifier=parts.verifier),
        directory=parts.directory,
        base_domain=parts.settings.base_domain,
        also=[TokenClaim(spoken_for(parts.verifier))],
        violated=violated,
        proxies=parts.settings.trusted_proxies,
    )


def shared_tenancy(parts: Parts) -> Tenancy:
    """Transactions of which no tenant has so many that another one waits for a connection."""
    limit = max(1, parts.settings.pool_size // _SHARE)
    return Tenancy(parts.app_pool, bulkhead=Bulkhead(limit, wait_s=_PATIENCE_S))


def limits_of(settings: Settings) -> Limits:
    return Limits(
        tenant=settings.rate_limit_tenant,
        principal=settings.rate_limit_principal,
        address=settings.rate_limit_address,
        tiers=dict(settings.rate_limit_tiers),
    )
