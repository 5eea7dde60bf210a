"""What may stand in a record at all, whichever provider it goes to. Pure."""

import re
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from controlplane.domain.dns import Record, RecordType
from controlplane.errors import ProviderRefused

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# Targets may have underscores, which names of tenants may not.
_HOST = re.compile(
    r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
_LONGEST_HOST = 253
_LONGEST_TTL = 2**31 - 1


def canonical(record: Record) -> Record:
    """The record in its one spelling: addresses compressed, a CNAME's target absolute and lower case.

    Raises ProviderRefused for a name, value or TTL that does not fit, so that nothing can be
    smuggled into a zone by a value.
    """
    if not _LABEL.fullmatch(record.name):
        raise ProviderRefused(f"{record.name!r} is not a DNS label.")
    if not 0 <= record.ttl <= _LONGEST_TTL:
        raise ProviderRefused(f"A TTL of {record.ttl} s is not between 0 and {_LONGEST_TTL}.")
    return replace(record, value=_canonical_value(record))


def host(text: str) -> str | None:
    """The host name in lower case with its final dot, or None for what is no host name."""
    name = text.lower().removesuffix(".")
    return f"{name}." if len(name) <= _LONGEST_HOST and _HOST.fullmatch(name) else None


def _canonical_value(record: Record) -> str:
    value = host(record.value) if record.type is RecordType.CNAME else _address(record)
    if value is None:
        raise ProviderRefused(f"{record.value!r} cannot be the value of an {record.type} record.")
    return value


def _address(record: Record) -> str | None:
    # A scope ("fe80::1%...") is free text to the parser, and means nothing in DNS.
    if "%" in record.value:
        return None
    parse = IPv4Address if record.type is RecordType.A else IPv6Address
    try:
        return str(parse(record.value))
    except ValueError:
        return None
