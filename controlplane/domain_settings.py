"""The settings of tenants' own domains; a part of controlplane.settings."""

import ipaddress
import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field, field_validator

from controlplane.dns_settings import is_host_name

_DNS_PORT = 53


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


class DomainSettings(BaseModel):
    """See docs/reference/settings.md, which a test compares with these fields."""

    domains_per_tenant: int = Field(default=20, ge=0, le=10_000)
    # Names of the installation that no tenant may claim, nor what is above or below them.
    domains_refused: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    # Who is asked about tenants' own domains instead of the machine's resolvers.
    domain_nameservers: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()

    @field_validator("domains_refused")
    @classmethod
    def _names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        lowered = tuple(name.lower().removesuffix(".") for name in names)
        if not all(map(is_host_name, lowered)):
            raise ValueError("must be host names such as api.example.com, with commas between")
        return lowered

    @field_validator("domain_nameservers")
    @classmethod
    def _addresses(cls, listed: tuple[str, ...]) -> tuple[str, ...]:
        for each in listed:
            parse_nameserver(each)
        return listed


def parse_nameserver(text: str) -> tuple[str, int]:
    """Address and port. Raises ValueError for what is none."""
    try:
        # Bare IPv6 holds colons that are not a port's.
        return str(ipaddress.ip_address(text)), _DNS_PORT
    except ValueError:
        with_port = re.fullmatch(r"\[?([0-9A-Fa-f:.]+?)\]?:([0-9]{1,5})", text)
    try:
        address, port = with_port.groups() if with_port else ("", "")
        return str(ipaddress.ip_address(address)), range(65_536)[int(port)]
    except (ValueError, IndexError):
        raise ValueError("must be addresses such as 192.0.2.53 or [2001:db8::53]:5353") from None
