"""What stands in a zone at Cloudflare, and what is to change there. Pure.

A record's comment says whose it is: the mark, written short. Comments have room for 100 characters on
every plan, and a mark spelled out has 123.
"""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from controlplane.domain.dns import Record, RecordType
from controlplane.domain.naming import Mark, Subdomain
from controlplane.errors import DnsConflict, ProviderRefused
from controlplane_dns.values import canonical

_COMMENT = re.compile(r"controlplane/([\w-]{22})/([\w-]{22})/([\w-]{22})", re.ASCII)
# Nothing of these may stand beside a tenant's record.
_SOLITARY = {*RecordType, "NS"}

Body = Mapping[str, object]


def comment(mark: Mark) -> str:
    """The mark in 81 characters: each id in base64url, without padding."""
    ids = (mark.installation, mark.tenant, mark.operation)
    return "/".join(["controlplane", *(_short(one) for one in ids)])


def comment_start(installation: UUID) -> str:
    """How the comments of all of an installation's records begin."""
    return f"controlplane/{_short(installation)}/"


def parse_comment(text: str) -> Mark | None:
    """The mark in a comment, or None for whatever else stands there."""
    match = _COMMENT.fullmatch(text)
    if match is None:
        return None
    mark = Mark(*(UUID(bytes=base64.urlsafe_b64decode(f"{part}==")) for part in match.groups()))
    # The last character has bits to spare: one mark has one spelling.
    return mark if comment(mark) == text else None


def _short(one: UUID) -> str:
    return base64.urlsafe_b64encode(one.bytes).decode().rstrip("=")


@dataclass(frozen=True)
class Found:
    """A record as Cloudflare tells it; `name` is the whole host name, in lower case."""

    id: str
    name: str
    type: str
    content: str
    ttl: int
    proxied: bool
    comment: str

    @property
    def mark(self) -> Mark | None:
        return parse_comment(self.comment)

    def record(self, label: str) -> Record | None:
        """As a tenant's record at the label; None for one that no tenant can have."""
        if self.type not in set(RecordType):
            return None
        found = Record(Subdomain(label), RecordType(self.type), self.content)
        try:
            # A proxied record has no TTL of its own, so it has the one that is expected.
            return canonical(found if self.proxied else replace(found, ttl=self.ttl))
        except ProviderRefused:
            return None

    def fits(self, record: Record) -> bool:
        """Whether it is this (canonical) record."""
        found = self.record(record.name)
        return found is not None and record == (
            replace(found, ttl=record.ttl) if self.proxied else found
        )


@dataclass(frozen=True)
class Changes:
    """What goes out as one request, and is done whole or not at all: in this order."""

    deletes: tuple[str, ...] = ()
    patches: tuple[Body, ...] = ()
    posts: tuple[Body, ...] = ()

    @property
    def is_first(self) -> bool:
        """Whether it only takes a free name."""
        return not (self.deletes or self.patches)


class Names:
    """Tenants' names are labels below `domain`."""

    def __init__(self, domain: str) -> None:
        self._end = f".{domain}"

    def host(self, label: str) -> str:
        return f"{label}{self._end}"

    def label(self, host: str) -> str | None:
        """The label of a name that stands directly below the domain; None for any other."""
        label = host.removesuffix(self._end)
        return label if label != host and "." not in label else None

    def changes(self, found: Sequence[Found], record: Record, mark: Mark) -> Changes | None:
        """What makes the record the only one of ours at its name; None where it is already.

        `found` is all that stands at the name. Raises DnsConflict where that is not this tenant's.
        """
        ours = of_tenant(found, mark)
        _refuse_foreign(found, ours, record)
        if not ours:
            return Changes(posts=(self._body(record, mark, proxied=False),))
        if len(ours) == 1 and ours[0].fits(record) and ours[0].comment == comment(mark):
            return None
        kept = next((one for one in ours if one.type == record.type), None)
        deletes = tuple(one.id for one in ours if one is not kept)
        if kept:
            patch = self._body(record, mark, proxied=kept.proxied)
            return Changes(deletes, patches=({"id": kept.id, **patch},))
        proxied = any(one.proxied for one in ours)
        return Changes(deletes, posts=(self._body(record, mark, proxied=proxied),))

    def _body(self, record: Record, mark: Mark, *, proxied: bool) -> Body:
        return {
            "name": self.host(record.name),
            "type": str(record.type),
            "content": record.value.removesuffix("."),
            "ttl": record.ttl,
            "proxied": proxied,
            "comment": comment(mark),
        }


def of_tenant(found: Iterable[Found], mark: Mark) -> list[Found]:
    """Those that carry the mark's installation and tenant."""
    return [one for one in found if mark.same_tenant(one.mark)]


def _refuse_foreign(found: Sequence[Found], ours: Sequence[Found], record: Record) -> None:
    """A free name holds nothing at all; beside our record, other types are tolerated."""
    for one in found:
        if one not in ours and (not ours or one.type in _SOLITARY):
            raise DnsConflict(
                f"The name '{record.name}' is held by the record {one.type} {one.content[:80]} "
                "that is not this tenant's; remove it or choose another subdomain."
            )
