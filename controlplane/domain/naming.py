"""Names: subdomains, hosts, schemas, roles and the mark that says what is ours. Pure."""

import re
from dataclasses import dataclass
from typing import NewType
from uuid import UUID

from controlplane.errors import FieldFault, SubdomainInvalid, SubdomainReserved

Subdomain = NewType("Subdomain", str)
SchemaName = NewType("SchemaName", str)

# RFC 1035 labels, at least three characters so that short names stay free for the operator.
_SUBDOMAIN = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_SCHEMA = re.compile(r"tenant_[0-9a-f]{32}")
_UUID = r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
_MARK = re.compile(rf"controlplane/{_UUID}/{_UUID}/{_UUID}")
_RESERVED = frozenset(
    [
        "www",
        "api",
        "admin",
        "app",
        "auth",
        "mail",
        "smtp",
        "ftp",
        "static",
        "cdn",
        "status",
        "health",
        "metrics",
        "localhost",
        "autodiscover",
        "mta-sts",
        "default",
        "system",
    ]
)
_RESERVED_SERIES = re.compile(r"ns[0-9]+")


def parse_subdomain(text: str) -> Subdomain:
    """The subdomain in lower case.

    Raises SubdomainInvalid or SubdomainReserved, both naming the field.
    """
    label = text.lower()
    # Lower case makes an ASCII k of the Kelvin sign.
    if not text.isascii() or not _SUBDOMAIN.fullmatch(label) or label[2:4] == "--":
        raise _fault(
            SubdomainInvalid,
            "The subdomain must be 3 to 63 letters a-z, digits or hyphens, begin and end with a "
            "letter or digit, and not have '--' as its third and fourth character.",
        )
    if label in _RESERVED or _RESERVED_SERIES.fullmatch(label):
        raise _fault(SubdomainReserved, f"The subdomain '{label}' is reserved; choose another.")
    return Subdomain(label)


def _fault(
    error: type[SubdomainInvalid | SubdomainReserved], detail: str
) -> SubdomainInvalid | SubdomainReserved:
    return error(detail, [FieldFault("/subdomain", error.code, detail)])


def schema_name(tenant_id: UUID) -> SchemaName:
    """`tenant_` and the id's 32 hex digits; the tenant's role has the same name."""
    return SchemaName(f"tenant_{tenant_id.hex}")


def parse_schema_name(text: str) -> SchemaName:
    """Raises ValueError for anything but `tenant_<32 hex>`, before any SQL is built with it."""
    if not _SCHEMA.fullmatch(text):
        raise ValueError(f"{text!r} is not a tenant schema's name")
    return SchemaName(text)


@dataclass(frozen=True)
class Mark:
    """Says whose a schema, a role or a record is: `controlplane/<installation>/<tenant>/<operation>`.

    Only what carries our installation's mark may be destroyed by us.
    """

    installation: UUID
    tenant: UUID
    operation: UUID

    def __str__(self) -> str:
        return f"controlplane/{self.installation}/{self.tenant}/{self.operation}"

    def same_tenant(self, other: "Mark | None") -> bool:
        """Whether the other mark is of the same installation and tenant, of any operation."""
        return other is not None and (self.installation, self.tenant) == (
            other.installation,
            other.tenant,
        )


def parse_mark(text: str | None) -> Mark | None:
    """The mark in a comment, or None for whatever else stands there."""
    match = _MARK.fullmatch(text or "")
    return Mark(*(UUID(part) for part in match.groups())) if match else None
