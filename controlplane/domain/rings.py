"""Which tenants a rollout takes first: rings, canary first, and who belongs to which. Pure."""

import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from controlplane.domain.naming import Subdomain
from controlplane.domain.tenants import Tier
from controlplane.errors import FieldFault, ValidationFailed

REST = "rest"
MOST_RINGS = 20
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)%")
_WHOLE = 100


class By(StrEnum):
    """What a ring goes by."""

    PERCENT = "percent"
    TIER = "tier"
    TAG = "tag"
    LIST = "list"
    # Whoever is in no ring before it; always the last.
    REST = "rest"


@dataclass(frozen=True)
class Ring:
    """`names` are tiers, tags or subdomains; `percent` is of all targets, and at least one."""

    name: str
    by: By
    names: frozenset[str] = frozenset()
    percent: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "by": self.by,
            "names": sorted(self.names),
            "percent": self.percent,
        }

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> "Ring":
        return cls(told["name"], By(told["by"]), frozenset(told["names"]), told["percent"])

    def _wants(self, member: "Member") -> bool:
        match self.by:
            case By.TIER:
                return member.tier in self.names
            case By.TAG:
                return bool(self.names & member.tags)
            case By.LIST:
                return member.subdomain in self.names
            case _:
                return self.by is By.REST


USUAL = ("canary=1%", "early=10%")


@dataclass(frozen=True)
class Member:
    """What of a tenant decides on its ring. `tags` are the texts in its metadata's list `tags`."""

    id: UUID
    subdomain: Subdomain
    tier: Tier
    tags: frozenset[str] = frozenset()


def tags_of(metadata: dict[str, Any]) -> frozenset[str]:
    """Whatever else stands there is no tag."""
    found = metadata.get("tags")
    return (
        frozenset(t for t in found if isinstance(t, str))
        if isinstance(found, list)
        else frozenset()
    )


def parse_rings(texts: Sequence[str], *, rest: bool = True) -> tuple[Ring, ...]:
    """Rings from `name=10%`, `name=tier:starter,enterprise`, `name=tag:beta`, `name=list:acme,globex`,
    in their order; with `rest` a last one for everybody else is added. Raises ValidationFailed.
    """
    if len(texts) > MOST_RINGS:
        raise _fault(f"There may be at most {MOST_RINGS} rings.")
    if not (texts or rest):
        raise _fault("Without a ring for everybody else, there must be another.")
    rings = (*map(_ring, texts), *([Ring(REST, By.REST)] if rest else []))
    names = [ring.name for ring in rings]
    for name in names:
        if names.count(name) > 1:
            raise _fault(f"The ring '{name}' is named twice, or has the last ring's name.")
    return rings


def _ring(text: str) -> Ring:
    name, _, rule = text.partition("=")
    if not _NAME.fullmatch(name):
        raise _fault(f"'{text}' does not begin with a ring's name, such as canary=1%.")
    share = _PERCENT.fullmatch(rule)
    if share is not None:
        return _share(name, float(share[1]))
    kind, _, listed = rule.partition(":")
    names = frozenset(part.strip() for part in listed.split(",") if part.strip())
    if kind not in {By.TIER, By.TAG, By.LIST} or not names:
        raise _fault(f"'{text}' must say a share such as 5%, or tier:…, tag:… or list:….")
    if kind == By.TIER and not names <= {*Tier}:
        raise _fault(f"'{text}' names a tier that there is not; there are {', '.join(Tier)}.")
    return Ring(name, By(kind), frozenset(n.lower() for n in names) if kind == By.LIST else names)


def _share(name: str, percent: float) -> Ring:
    if not 0 < percent <= _WHOLE:
        raise _fault(f"The ring '{name}' must have more than 0% and at most 100%.")
    return Ring(name, By.PERCENT, percent=percent)


def _fault(detail: str) -> ValidationFailed:
    return ValidationFailed(detail, [FieldFault("/rings", "invalid", detail)])


def assign(rings: Sequence[Ring], members: Iterable[Member]) -> dict[UUID, int]:
    """Each member's ring: the first that wants it.

    The same members come to the same rings whatever their order; a share is drawn by the hash of
    the ids, so that it is not the eldest tenants who are always first.
    """
    left = {member.id: member for member in sorted(members, key=_draw)}
    total = len(left)
    found: dict[UUID, int] = {}
    for number, ring in enumerate(rings):
        if ring.by is By.PERCENT:
            taken = list(left)[: math.ceil(total * ring.percent / _WHOLE)]
        else:
            taken = [key for key, member in left.items() if ring._wants(member)]  # noqa: SLF001  of this module
        for key in taken:
            found[key] = number
            del left[key]
    return found


def empty(rings: Sequence[Ring], sizes: Sequence[int]) -> list[str]:
    """The names of rings that say whom they want and get nobody, where there is anybody."""
    wanting = {By.TIER, By.TAG, By.LIST}
    pairs = zip(rings, sizes, strict=True)
    return [ring.name for ring, size in pairs if ring.by in wanting and not size and any(sizes)]


def _draw(member: Member) -> bytes:
    return hashlib.sha256(member.id.bytes).digest()
