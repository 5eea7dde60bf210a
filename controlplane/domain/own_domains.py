"""A tenant's own domains, their states and what follows from a look at the DNS. Pure."""

from enum import StrEnum


class DomainState(StrEnum):
    """Whether a host leads to its tenant."""

    # Claimed; whoever holds the domain has not said yes by its DNS.
    PENDING = "pending"
    # Served, and worth a certificate.
    VERIFIED = "verified"
    # It was verified, and its proof has been gone for too long: not served.
    LOST = "lost"
