"""What must never happen is told to whoever reads the log."""

import logging

from controlplane.routing import Violation

log = logging.getLogger(__name__)


def alarm(violation: Violation) -> None:
    """For the middleware's `violated`."""
    log.critical(
        "isolation: %s at %s, asked by %s",
        violation.kind,
        violation.tenant.subdomain,
        violation.asked.client,
    )
