"""What the provider tells of our mails, counted. Never by tenant or address."""

from prometheus_client import CollectorRegistry, Counter

from controlplane.domain.mail import Fate


class MailFigures:
    """Counts what this process was told."""

    def __init__(self, *, registry: CollectorRegistry) -> None:
        self._told = Counter(
            "controlplane_mail_events",
            "What the provider told of mails of ours, by what it says became of them.",
            ["fate"],
            registry=registry,
        )
        for fate in Fate:
            # From the start, or Prometheus would not see the first one as an increase.
            self._told.labels(fate)

    def told(self, fate: Fate) -> None:
        """Count one event, whether it is the first of its mail or a repeat."""
        self._told.labels(fate).inc()
