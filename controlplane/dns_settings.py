"""The settings of the zone that tenants live in; a part of controlplane.settings."""

import ipaddress
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field, SecretStr, ValidationInfo, field_validator

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LONGEST_NAME = 253  # characters of a host name, without the last dot


class DnsKind(StrEnum):
    ZONEFILE = "zonefile"
    RFC2136 = "rfc2136"
    CLOUDFLARE = "cloudflare"
    ROUTE53 = "route53"
    WILDCARD = "wildcard"
    MEMORY = "memory"


class KeyAlgorithm(StrEnum):
    HMAC_SHA256 = "hmac-sha256"
    HMAC_SHA384 = "hmac-sha384"
    HMAC_SHA512 = "hmac-sha512"


# With commas between.
Listed = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda text: [part.strip() for part in text.split(",") if part.strip()]),
]


class DnsSettings(BaseModel):
    """See docs/reference/settings.md, which a test compares with these fields."""

    # Tenants live at `<subdomain>.<base_domain>`.
    base_domain: str

    dns: DnsKind = DnsKind.ZONEFILE
    # Where subdomains lead: an address (A, AAAA) or a host name (CNAME).
    dns_target: str
    dns_zone_file: Path | None = None
    # The name server that a new zone file names; without one, `ns1.<base_domain>`.
    dns_nameserver: str | None = None
    # The zone that the base domain lies in, if it is not one itself.
    dns_zone_name: str | None = None
    # The zone's primary (rfc2136), or whom to ask instead of the machine's resolvers (wildcard).
    dns_server: str | None = None
    # A change must have reached them too.
    dns_secondaries: Listed = ()
    dns_key_name: str | None = None
    dns_key_secret: SecretStr | None = None
    dns_key_algorithm: KeyAlgorithm = KeyAlgorithm.HMAC_SHA256
    # The zone's id at its provider.
    dns_zone_id: str | None = None
    # What opens the provider's API.
    dns_token: SecretStr | None = None
    # How many requests all processes together make in any second, of a provider that counts them;
    # without it, what that one allows. One step asks up to three times.
    dns_requests_per_s: int | None = Field(default=None, ge=3, le=1_000)

    @field_validator("base_domain", "dns_zone_name")
    @classmethod
    def _domain(cls, domain: str | None, info: ValidationInfo) -> str | None:
        if domain is None:
            return None
        domain = domain.lower().rstrip(".")
        if not is_host_name(domain):
            raise ValueError("must be a domain name such as apps.example.com")
        if not f".{info.data.get('base_domain', domain)}".endswith(f".{domain}"):
            raise ValueError("must be the base domain or a domain above it")
        return domain

    @field_validator("dns_target")
    @classmethod
    def _target(cls, target: str) -> str:
        if not (_is_address(target) or is_host_name(target.lower().removesuffix("."))):
            raise ValueError("must be an IP address or a host name such as lb.example.com")
        return target


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    # A zone index (fe80::1%eth0) means something on one machine only.
    return "%" not in text


def is_host_name(text: str) -> bool:
    """In lower case. What ends in a number is an address, or a slip of one."""
    *_, last = labels = text.split(".")
    fits = all(_LABEL.fullmatch(label) for label in labels) and len(text) <= _LONGEST_NAME
    return fits and not last.isdigit()
