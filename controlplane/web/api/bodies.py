"""What the API is sent. The shape is checked by msgspec, the meaning here, every fault at once."""

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from controlplane.domain import addresses
from controlplane.domain.naming import Subdomain, parse_subdomain
from controlplane.domain.tenants import Tier
from controlplane.errors import FieldFault, ValidationFailed
from controlplane.provisioning.requests import NewTenant

NAME_CHARACTERS = 200
METADATA_BYTES = 16_384
METADATA_DEPTH = 5
TEXT_CHARACTERS = 2000

_LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*[^\s\x00-\x1f\x7f-\x9f\u2028\u2029][^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"
_SUBDOMAIN = r"^[A-Za-z0-9][A-Za-z0-9-](?!--)[A-Za-z0-9-]{0,60}[A-Za-z0-9]$"


def _documented(description: str, example: object, **schema: object) -> Meta:
    """What the OpenAPI document says of a field; msgspec itself does not check it."""
    extra = {"extra": schema} if schema else None
    return Meta(description=description, examples=[example], extra_json_schema=extra)


Line = Annotated[
    str,
    _documented(
        "1 to 200 characters, none of them a control character.",
        "Acme",
        min_length=1,
        max_length=NAME_CHARACTERS,
        pattern=_LINE,
    ),
]
Address = Annotated[
    str,
    _documented(
        "The mail address of the tenant's first admin.",
        "ada@acme.test",
        max_length=addresses.MAX_CHARACTERS,
        pattern=f"^{addresses.PATTERN}$",
    ),
]
Label = Annotated[
    str,
    _documented(
        "3 to 63 letters, digits or hyphens; upper case is lowered. Some names are reserved.",
        "acme",
        min_length=3,
        max_length=63,
        pattern=_SUBDOMAIN,
    ),
]
Remark = Annotated[
    str,
    _documented(
        "1 to 2000 characters.",
        "The zone was moved; the record is gone.",
        min_length=1,
        max_length=TEXT_CHARACTERS,
        pattern=r"^[^\x00]*[^\s\x00][^\x00]*$",
    ),
]
Confirmation = Annotated[
    str, _documented("The tenant's subdomain, once more, so that this is meant.", "acme")
]


class NewTenantBody(Struct, forbid_unknown_fields=True):
    """A tenant to be made."""

    name: Line
    subdomain: Label
    admin_email: Address
    admin_name: Line | None = None
    tier: Tier | None = None
    metadata: dict[str, Any] = {}

    def parsed(self) -> NewTenant:
        """Raises ValidationFailed with every fault; SubdomainInvalid and the like for a sole one."""
        faults = [*_line_faults("/name", self.name), *_address_faults(self.admin_email)]
        if self.admin_name is not None:
            faults += _line_faults("/admin_name", self.admin_name)
        faults += _metadata_faults(self.metadata)
        return NewTenant(
            name=self.name,
            subdomain=_subdomain(self.subdomain, faults),
            admin_email=self.admin_email,
            admin_name=self.admin_name,
            tier=self.tier,
            metadata=self.metadata,
        )


class RenameBody(Struct, forbid_unknown_fields=True):
    """The subdomain that is to lead to the tenant."""

    subdomain: Label

    def parsed(self) -> Subdomain:
        """Raises SubdomainInvalid and SubdomainReserved."""
        return parse_subdomain(self.subdomain)


class PurgeBody(Struct, forbid_unknown_fields=True):
    """That a tenant's data is to be destroyed, and whether before its grace period is over."""

    confirm: Confirmation
    skip_grace: bool = False


class FreezeBody(Struct, forbid_unknown_fields=True):
    """Why a tenant stays at its revision."""

    reason: Line

    def parsed(self) -> str:
        """Raises ValidationFailed."""
        faults = _line_faults("/reason", self.reason)
        if faults:
            raise failed(faults)
        return self.reason


class AbandonBody(Struct, forbid_unknown_fields=True):
    """Why a parked operation is given up."""

    reason: Remark
    comment: Remark

    def check(self) -> None:
        """Raises ValidationFailed."""
        faults = [
            *_remark_faults("/reason", self.reason),
            *_remark_faults("/comment", self.comment),
        ]
        if faults:
            raise failed(faults)


def failed(faults: list[FieldFault]) -> ValidationFailed:
    """One error for all faults."""
    return ValidationFailed(" ".join(f"{f.pointer}: {f.detail}" for f in faults), faults)


def require_flags(given: Mapping[str, Any], *names: str) -> None:
    """The framework takes 0, 1 and words for a flag. Raises ValidationFailed for what is none."""
    detail = "This must be true or false."
    wrong = [name for name in names if not isinstance(given.get(name), bool | None)]
    if wrong:
        raise failed([FieldFault(f"/{name}", "invalid", detail) for name in wrong])


def _subdomain(text: str, others: list[FieldFault]) -> Subdomain:
    try:
        subdomain = parse_subdomain(text)
    except ValidationFailed as error:
        if not others:
            raise
        raise failed([*error.faults, *others]) from error
    if others:
        raise failed(others)
    return subdomain


def _line_faults(pointer: str, text: str) -> list[FieldFault]:
    fits = 0 < len(text) <= NAME_CHARACTERS and text.strip() != ""
    if fits and not any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} for c in text):
        return []
    detail = f"This must be 1 to {NAME_CHARACTERS} characters without control characters."
    return [FieldFault(pointer, "invalid", detail)]


def _remark_faults(pointer: str, text: str) -> list[FieldFault]:
    if 0 < len(text) <= TEXT_CHARACTERS and text.strip() and "\0" not in text:
        return []
    detail = f"This must be 1 to {TEXT_CHARACTERS} characters without NUL."
    return [FieldFault(pointer, "invalid", detail)]


def _address_faults(text: str) -> list[FieldFault]:
    if addresses.is_address(text):
        return []
    detail = "This must be one plain mail address such as ada@example.com."
    return [FieldFault("/admin_email", "email_invalid", detail)]


def _metadata_faults(metadata: dict[str, Any]) -> list[FieldFault]:
    if len(msgspec.json.encode(metadata)) > METADATA_BYTES:
        detail = f"This may have at most {METADATA_BYTES} bytes."
    elif any(depth > METADATA_DEPTH for depth, _ in _leaves(metadata, 1)):
        detail = f"This may be nested at most {METADATA_DEPTH} deep."
    elif any("\0" in leaf for _, leaf in _leaves(metadata, 1) if isinstance(leaf, str)):
        detail = "This may not hold the character NUL."
    else:
        return []
    return [FieldFault("/metadata", "invalid", detail)]


def _leaves(value: object, depth: int) -> Iterator[tuple[int, object]]:
    """Every key and value with the depth at which it stands; an empty collection is a leaf too."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield depth, key
            yield from _leaves(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, depth + 1)
    yield depth, value
