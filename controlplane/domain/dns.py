"""DNS records as values. Pure."""

import ipaddress
from dataclasses import dataclass
from enum import StrEnum

from controlplane.domain.naming import Mark, Subdomain


class RecordType(StrEnum):
    A = "A"
    AAAA = "AAAA"
    CNAME = "CNAME"


class Propagation(StrEnum):
    PENDING = "pending"
    INSYNC = "insync"
    FAILED = "failed"


@dataclass(frozen=True)
class Record:
    """One record of a tenant. `name` is the label below the zone, `ttl` is in seconds."""

    name: Subdomain
    type: RecordType
    value: str
    ttl: int = 300


@dataclass(frozen=True)
class OwnedRecord:
    """A record in the zone that carries a mark of ours."""

    record: Record
    mark: Mark


_ADDRESS = {4: RecordType.A, 6: RecordType.AAAA}


def record_for(subdomain: Subdomain, target: str, *, ttl: int = 300) -> Record:
    """The record that leads a subdomain to the ingress: A or AAAA for an address, else CNAME."""
    try:
        version = ipaddress.ip_address(target).version
    except ValueError:
        return Record(subdomain, RecordType.CNAME, target.rstrip(".") + ".", ttl)
    return Record(subdomain, _ADDRESS[version], target, ttl)
