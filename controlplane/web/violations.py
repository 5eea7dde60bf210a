"""Violations of isolation on tenants' hosts: each is counted, and told in the logs of its tenants."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter

from controlplane.routing import Violation
from controlplane.routing.violations import KINDS
from controlplane.store.refusals import Refusal
from controlplane.web.audit_queue import AuditQueue

_AGENT_CHARACTERS = 200


class Violations:
    """What the tenants' middleware tells: `violated=` of it. Neither waits nor raises."""

    def __init__(self, audit: AuditQueue, *, registry: CollectorRegistry) -> None:
        self._audit = audit
        self._counted = Counter(
            "controlplane_isolation_violations",
            "Requests on tenants' hosts that did what must never happen, by kind.",
            ["kind"],
            registry=registry,
        )
        for kind in KINDS:
            # From the start, or Prometheus would not see the first one as an increase.
            self._counted.labels(kind)

    def __call__(self, violation: Violation) -> None:
        self._counted.labels(violation.kind).inc()
        for refusal in refusals(violation):
            self._audit.offer(refusal)


def refusals(violation: Violation) -> Iterator[Refusal]:
    """A row in the log of the host's tenant, and one in that of the token's, where a verified one
    says so: what an unverified one says would let anybody write into anybody's log."""
    yield _refusal(violation, side="host")
    if violation.claimed is not None:
        yield _refusal(violation, side="token")


def _refusal(violation: Violation, *, side: str) -> Refusal:
    host, claimed = violation.tenant.id, violation.claimed
    whose, other = (host, claimed) if side == "host" or claimed is None else (claimed, host)
    return Refusal(
        whose,
        f"isolation.{violation.kind}",
        {"side": side},
        other=other,
        cause=claimed if side == "host" else None,
        request_id=violation.request_id,
        ip=violation.asked.client,
        agent=_agent(violation),
    )


def _agent(violation: Violation) -> str | None:
    sent = [value for name, value in violation.asked.headers if name.lower() == b"user-agent"]
    text = sent[0].decode("latin-1")[:_AGENT_CHARACTERS] if sent else ""
    return "".join(filter(str.isprintable, text)) or None
