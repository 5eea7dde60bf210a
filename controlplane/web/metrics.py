"""GET /metrics: what Prometheus reads. Of this process its requests; the rest of all, from the
database, so that every replica of the API tells the same of it.

No label ever holds a tenant, a host or an address: Prometheus keeps each value for ever.
"""

import asyncio
import hmac
from collections.abc import Iterable, Iterator
from time import monotonic

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import SecretStr
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from controlplane import __version__
from controlplane.errors import (
    AuthenticationRequired,
    ControlPlaneError,
    MethodNotAllowed,
    NotFound,
)
from controlplane.store import census
from controlplane.store.census import Census
from controlplane.store.warm_schemas import Tally
from controlplane.web.asgi import ASGIApp, Receive, Scope, Send, exchange_of, header
from controlplane.web.problems import send_problem

log = structlog.get_logger()

PATH = "/metrics"
# Several that scrape at once cost the database one look.
FRESH_S = 5.0
_PATIENCE_S = 3.0


class Metrics:
    """Answers `/metrics` in front of `app`, which must not serve tenants' hosts.

    With a token, to whoever sends it as bearer; without one, only where the host is not a name
    under the base domain: what the world can resolve is not for the world to read. `newest` is the template's
    revision, `recipe` that of the warm pool's schemas, where they are known.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        registry: CollectorRegistry,
        control: AsyncEngine,
        token: SecretStr | None,
        base_domain: str,
        newest: str | None = None,
        recipe: str | None = None,
        fresh_s: float = FRESH_S,
    ) -> None:
        self._app = app
        self._registry = registry
        self._counted = _Counted(control, newest, recipe, fresh_s)
        self._token = token
        self._base_domain = base_domain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH:
            return await self._app(scope, receive, send)
        exchange_of(scope).template = PATH
        try:
            self._admit(scope)
        except ControlPlaneError as error:
            return await send_problem(error, scope, send)
        read = _Read(self._registry, await self._counted.now())
        return await _answer(generate_latest(read), send, body=scope["method"] != "HEAD")

    def _admit(self, scope: Scope) -> None:
        """Raises NotFound, AuthenticationRequired or MethodNotAllowed."""
        if self._token is None:
            host = (header(scope, b"host") or "").partition(":")[0].lower().removesuffix(".")
            if f".{host}".endswith(f".{self._base_domain}"):
                raise NotFound("There is nothing at this path.")
        elif not _bears(scope, self._token.get_secret_value()):
            raise AuthenticationRequired("Send 'Authorization: Bearer <token of the metrics>'.")
        if scope["method"] not in {"GET", "HEAD"}:
            raise MethodNotAllowed("This path allows GET and HEAD.", allow="GET, HEAD")


def _bears(scope: Scope, token: str) -> bool:
    scheme, _, given = (header(scope, b"authorization") or "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(
        given.strip().encode(), token.encode()
    )


async def _answer(content: bytes, send: Send, *, body: bool) -> None:
    headers = [
        (b"content-type", CONTENT_TYPE_PLAIN_0_0_4.encode()),
        (b"content-length", str(len(content)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content if body else b""})


class _Counted:
    """The census of the last few seconds; None while the database does not answer."""

    def __init__(
        self, control: AsyncEngine, newest: str | None, recipe: str | None, fresh_s: float
    ) -> None:
        self._control = control
        self._newest, self._recipe = newest, recipe
        self._fresh_s = fresh_s
        self._one = asyncio.Lock()
        self._until = 0.0
        self._census: Census | None = None

    async def now(self) -> Census | None:
        async with self._one:
            if monotonic() >= self._until:
                self._census = await self._take()
                self._until = monotonic() + self._fresh_s
            return self._census

    async def _take(self) -> Census | None:
        try:
            async with asyncio.timeout(_PATIENCE_S), self._control.connect() as plain:
                conn = await plain.execution_options(postgresql_readonly=True)
                return await census.take(conn, self._newest, self._recipe)
        except (SQLAlchemyError, TimeoutError) as error:
            log.warning("census_failed", error=type(error).__name__)
            return None


class _Read(Collector):
    """Everything of one answer: the process's own metrics and what was counted for it."""

    def __init__(self, registry: CollectorRegistry, counted: Census | None) -> None:
        self._registry = registry
        self._counted = counted

    def collect(self) -> Iterable[Metric]:
        yield InfoMetricFamily(
            "controlplane_build", "The release that answers.", value={"version": __version__}
        )
        yield _gauge(
            "controlplane_database_up",
            "1 if the database answered; 0 if not, and what is counted in it is left out.",
            self._counted is not None,
        )
        yield from map(_without_births, self._registry.collect())
        if self._counted is not None:
            yield from _families(self._counted)


def _without_births(family: Metric) -> Metric:
    """Prometheus makes no use of `_created` in this format, and keeps a series for each."""
    family.samples = [s for s in family.samples if not s.name.endswith("_created")]
    return family


def _families(counted: Census) -> Iterator[Metric]:
    yield _by("controlplane_tenants", "Tenants by state.", "state", counted.tenants)
    if counted.behind is not None:
        yield _by(
            "controlplane_tenants_behind",
            "Tenants at another revision than the newest of this release, by whether they are frozen.",
            "frozen",
            counted.behind,
        )
    yield _by(
        "controlplane_operations",
        "Operations that have not ended, by state.",
        "state",
        counted.operations,
    )
    yield _gauge(
        "controlplane_operations_oldest_due_seconds",
        "How long the operation has waited that was due first and that no worker holds.",
        counted.oldest_due_s,
    )
    yield _by("controlplane_mails", "Mails by state.", "state", counted.mails)
    yield _by(
        "controlplane_findings",
        "What did not fit together when a worker looked last, by kind.",
        "kind",
        counted.findings,
    )
    yield _gauge(
        "controlplane_findings_look_timestamp_seconds",
        "When a worker looked last for what does not fit together, since 1970; 0 for never.",
        counted.looked,
    )
    yield _gauge(
        "controlplane_tenants_drifted",
        "Tenants whose schema was not what the template makes when a worker compared last.",
        counted.drifted,
    )
    yield _gauge(
        "controlplane_drift_look_timestamp_seconds",
        "When a worker compared schemas with the template last, since 1970; 0 for never.",
        counted.compared,
    )
    yield from _domain_families(counted)
    if counted.warm is not None:
        yield from _warm_families(counted.warm)


def _warm_families(warm: Tally) -> Iterator[Metric]:
    yield _by(
        "controlplane_warm_schemas",
        "Schemas of the warm pool: ready for this release's requests, of others, or going.",
        "state",
        {"ready": warm.ready, "other": warm.other, "going": warm.going},
    )
    yield _by(
        "controlplane_warm_claims",
        "Tenants asked for in the last hour, by whether the warm pool had a schema.",
        "outcome",
        {"hit": warm.hits, "miss": warm.misses},
    )


def _domain_families(counted: Census) -> Iterator[Metric]:
    yield _by("controlplane_domains", "Tenants' own domains by state.", "state", counted.domains)
    yield _by(
        "controlplane_domain_looks",
        "Tenants' own domains by what a worker saw when it looked last.",
        "outcome",
        counted.looks,
    )
    yield _gauge(
        "controlplane_domains_failing",
        "Tenants' own domains that are served although their proof is missing.",
        counted.failing,
    )
    yield _gauge(
        "controlplane_domains_oldest_due_seconds",
        "How long the domain has waited for a look that was due first.",
        counted.oldest_domain_due_s,
    )


def _gauge(name: str, told: str, value: float) -> Metric:
    return GaugeMetricFamily(name, told, value=value)


def _by(name: str, told: str, label: str, numbers: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(name, told, labels=[label])
    for which, number in numbers.items():
        family.add_metric([str(which)], number)
    return family
