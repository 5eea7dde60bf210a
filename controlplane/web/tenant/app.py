"""What is served on a tenant's host."""

from litestar import Litestar, Router
from litestar.datastructures import State

from controlplane.routing import TenantMiddleware, TokenClaim
from controlplane.web.asgi import ASGIApp, templated
from controlplane.web.options import answering_options
from controlplane.web.problems import handlers as exception_handlers
from controlplane.web.tenant.info import tenant_info
from controlplane.web.tenant.principals import Principals, spoken_for
from controlplane.wiring import Parts

router = Router(path="/api/tenant", tags=["tenant"], route_handlers=[tenant_info])


def tenant_app(parts: Parts) -> ASGIApp:
    """The application of tenant hosts, behind the middleware that lets active tenants in.

    From the outside in: whose host it is (and that a token is not another tenant's), who speaks,
    how often he may, and the routes.
    """
    app = Litestar(
        [router],
        openapi_config=None,
        logging_config=None,
        exception_handlers=exception_handlers(),
        state=State({"parts": parts}),
    )
    routes = answering_options(templated(app))
    # A limit per tenant and principal goes here: around `routes`, inside `Principals`.
    return TenantMiddleware(
        Principals(routes, verifier=parts.verifier),
        directory=parts.directory,
        base_domain=parts.settings.base_domain,
        also=[TokenClaim(spoken_for(parts.verifier))],
    )
