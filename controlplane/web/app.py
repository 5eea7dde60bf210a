"""The HTTP application, put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache

import msgspec
from litestar import Litestar, MediaType, Response, Router, get
from litestar.datastructures import State
from litestar.types import ControllerRouterHandler
from prometheus_client import CollectorRegistry

from controlplane import __version__
from controlplane.connections import control_figures
from controlplane.routing import listening, pool_figures
from controlplane.tenancy.newest import newest
from controlplane.web.api import (
    domains,
    drift,
    edge,
    findings,
    freezing,
    holds,
    lifecycle,
    mail_events,
    operations,
    rollouts,
    system,
    tenants,
    tls,
)
from controlplane.web.api.parameters import sound_parameters
from controlplane.web.asgi import ASGIApp, templated
from controlplane.web.audit_queue import AuditQueue
from controlplane.web.auth import admins_only
from controlplane.web.dispatch import HostDispatch
from controlplane.web.hub import Hub
from controlplane.web.limits import BodyLimit
from controlplane.web.mail_figures import MailFigures
from controlplane.web.metrics import Metrics
from controlplane.web.openapi import BEARER, document
from controlplane.web.options import answering_options
from controlplane.web.outer import Outer
from controlplane.web.pools import Pools
from controlplane.web.problems import handlers as exception_handlers
from controlplane.web.request import ApiRequest
from controlplane.web.tenant.app import router as tenant_router
from controlplane.web.tenant.app import tenant_app
from controlplane.web.violations import Violations
from controlplane.wiring import Parts, warm_recipe

OPENAPI_PATH = "/api/openapi.json"

admin_router = Router(
    path="/api/admin",
    guards=[admins_only, sound_parameters],
    security=BEARER,
    route_handlers=[
        tenants.router,
        lifecycle.router,
        freezing.router,
        domains.router,
        holds.router,
        operations.router,
        findings.router,
        drift.router,
        rollouts.router,
    ],
)


@cache
def openapi_json() -> bytes:
    """The OpenAPI document of all hosts."""
    handlers: list[ControllerRouterHandler] = [
        admin_router,
        edge.resolve,
        tls.tls_allowed,
        mail_events.receive,
        *system.handlers,
        tenant_router,
    ]
    return msgspec.json.encode(
        document(handlers, title="controlplane", version=__version__), order="deterministic"
    )


@get(OPENAPI_PATH, include_in_schema=False, sync_to_thread=True)
def openapi() -> Response[bytes]:
    """The document itself."""
    return Response(openapi_json(), media_type=MediaType.JSON)


def create_app(parts: Parts) -> ASGIApp:
    """The whole HTTP side over open parts: admin API, tenant hosts, health, metrics.

    Streams of events end when the server sends `lifespan.shutdown`.
    """
    registry = CollectorRegistry()
    registry.register(
        Pools(
            {
                "control": lambda: control_figures(parts.control),
                "app": lambda: pool_figures(parts.app_pool),
            }
        )
    )
    audit = AuditQueue(parts.control, registry=registry)
    dispatch = HostDispatch(
        admin=Metrics(
            _admin_app(parts, audit, MailFigures(registry=registry)),
            registry=registry,
            control=parts.control,
            token=parts.settings.metrics_token,
            base_domain=parts.settings.base_domain,
            newest=newest(parts.template),
            recipe=warm_recipe(parts.settings, parts.template),
        ),
        tenant=tenant_app(parts, registry=registry, violated=Violations(audit, registry=registry)),
        directory=parts.directory,
        base_domain=parts.settings.base_domain,
        anywhere=(*system.PATHS, OPENAPI_PATH, edge.PATH, tls.PATH),
        ours=parts.settings.domains_refused,
    )
    limited = BodyLimit(dispatch, limit_bytes=parts.settings.body_limit_bytes)
    return Outer(limited, registry=registry)


def _admin_app(parts: Parts, audit: AuditQueue, mails: MailFigures) -> ASGIApp:
    direct = parts.settings.database_url_direct.get_secret_value()
    hub = Hub(direct)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with listening(direct, parts.directory):
            yield
            await hub.close()
            await audit.close()

    app = Litestar(
        [
            *(admin_router, edge.resolve, tls.tls_allowed, mail_events.receive),
            *(*system.handlers, openapi),
        ],
        request_class=ApiRequest,
        # Ours counts outside, and sees every route.
        request_max_body_size=None,
        openapi_config=None,
        logging_config=None,
        exception_handlers=exception_handlers(),
        lifespan=[lifespan],
        state=State(
            {
                "parts": parts,
                "hub": hub,
                "recent_tokens": edge.RecentTokens(),
                "tls_line": tls.Line(),
                "mails": mails,
            }
        ),
    )
    return answering_options(templated(app))
