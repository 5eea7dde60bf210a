"""Which hosts a tenant may claim as its own. Pure."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import NewType

import idna

from controlplane.errors import DomainInvalid, DomainReserved, FieldFault

# A host name in lower case and in ASCII (A-labels), with two labels or more and no dot at its end.
Host = NewType("Host", str)

CHALLENGE_LABEL = "_controlplane-challenge"
# The challenge's name must be one, too: 253 characters at most.
MAX_CHARACTERS = 253 - len(CHALLENGE_LABEL) - 1

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
# What ends like that is read as an IPv4 address somewhere.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_SHAPE = (
    "The host must be a name such as 'www.example.com': no address, port, path or wildcard, letters, "
    f"digits and hyphens between dots, at most {MAX_CHARACTERS} characters."
)


@dataclass(frozen=True)
class Ours:
    """The installation's own names. `others` are such as the ingress' and the API's; all are host
    names in lower case."""

    base_domain: str
    others: Collection[str] = ()


def parse_host(text: str, ours: Ours) -> Host:
    """The host in ASCII and lower case. Raises DomainInvalid or DomainReserved, naming the field."""
    host = ascii_host(text)
    if is_within(host, ours.base_domain):
        raise _fault(
            DomainReserved,
            f"'{host}' is the base domain or below it; change the tenant's subdomain, or choose a domain of "
            "its own.",
        )
    if any(
        is_within(name, host) or is_within(host, name) for name in (ours.base_domain, *ours.others)
    ):
        raise _fault(
            DomainReserved,
            f"'{host}' is the installation's own, or above or below a name of it; choose another.",
        )
    return host


def ascii_host(text: str) -> Host:
    """The host in ASCII and lower case, whoever's it is. Raises DomainInvalid."""
    labels = _encoded(text).removesuffix(".").split(".")
    host = ".".join(labels)
    is_named = len(labels) > 1 and all(map(_LABEL.fullmatch, labels))
    if not is_named or len(host) > MAX_CHARACTERS or _NUMBER.fullmatch(labels[-1]):
        raise _fault(DomainInvalid, _SHAPE)
    return Host(host)


def _encoded(text: str) -> str:
    # Its time grows with the length.
    if len(text) > MAX_CHARACTERS + 1:
        raise _fault(DomainInvalid, _SHAPE)
    try:
        return idna.encode(text, uts46=True, std3_rules=True).decode()
    except UnicodeError:
        raise _fault(DomainInvalid, _SHAPE) from None


def is_within(name: str, domain: str) -> bool:
    """Whether the name is the domain or lies below it. Both in lower case."""
    return f".{name}".endswith(f".{domain}")


def _fault(
    error: type[DomainInvalid | DomainReserved], detail: str
) -> DomainInvalid | DomainReserved:
    return error(detail, [FieldFault("/host", error.code, detail)])
