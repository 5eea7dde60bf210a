"""The records that the holder of a domain makes. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from controlplane.domain.dns import RecordType, record_for
from controlplane.domain.dns_look import challenge_name
from controlplane.domain.naming import Subdomain
from controlplane.domain.own_hosts import Host


class Purpose(StrEnum):
    PROOF = "proof"
    TARGET = "target"
    # For a zone's top, where no CNAME may stand.
    TARGET_WITHOUT_CNAME = "target_without_cname"


@dataclass(frozen=True)
class WantedRecord:
    """A record with its whole name, without a dot at the end."""

    purpose: Purpose
    type: str
    name: str
    value: str


def wanted_records(
    host: Host, challenge: str, *, subdomain: Subdomain, base_domain: str, dns_target: str
) -> list[WantedRecord]:
    """What proves the host, and what leads it to the tenant."""
    records = [
        WantedRecord(Purpose.PROOF, "TXT", challenge_name(host), challenge),
        WantedRecord(Purpose.TARGET, RecordType.CNAME, host, f"{subdomain}.{base_domain}."),
    ]
    direct = record_for(subdomain, dns_target)
    if direct.type is not RecordType.CNAME:
        instead = WantedRecord(Purpose.TARGET_WITHOUT_CNAME, direct.type, host, direct.value)
        records.append(instead)
    return records
