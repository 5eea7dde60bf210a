"""What a tenant's schema consists of, and how it differs from what the template makes. Pure.

A schema is a set of facts, each a line of PostgreSQL's catalog in the words of PostgreSQL itself,
with placeholders for what is the tenant's own: so the facts of two tenants are the same.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

_LONGEST = 240
# As in the compiled scripts.
SCHEMA, TENANT_ID = "__schema__", "__tenant_id__"


class FactKind(StrEnum):
    """In the order in which they are made; whatever goes, goes in the opposite one."""

    TYPE = "type"
    SEQUENCE = "sequence"
    TABLE = "table"
    FUNCTION = "function"
    COLUMN = "column"
    DEFAULT = "default"
    NOT_NULL = "not null"
    CONSTRAINT = "constraint"
    FOREIGN_KEY = "foreign key"
    INDEX = "index"
    STATISTICS = "statistics"
    VIEW = "view"
    TRIGGER = "trigger"
    POLICY = "policy"
    ROW_SECURITY = "row security"
    OWNER = "owner"
    GRANT = "grant"


_ORDER = {kind: place for place, kind in enumerate(FactKind)}


@dataclass(frozen=True)
class Fact:
    """`on` is the quoted relation that it belongs to, empty where it stands by itself; `name` is
    its own quoted name, or whom a grant is for; `definition` is what PostgreSQL says of it."""

    kind: FactKind
    on: str
    name: str
    definition: str

    @property
    def key(self) -> tuple[FactKind, str, str]:
        return self.kind, self.on, self.name


@dataclass(frozen=True)
class Difference:
    """`expected` is None for what the template does not make, `found` for what is missing."""

    kind: FactKind
    on: str
    name: str
    expected: str | None
    found: str | None

    def to_json(self) -> dict[str, str | None]:
        """As it is kept and shown."""
        return {
            "kind": self.kind.value,
            "on": self.on,
            "name": self.name,
            "expected": self.expected,
            "found": self.found,
        }

    def __str__(self) -> str:
        what = f"{self.kind} {self.name}"
        if self.on and self.on != self.name:
            what = f"{self.kind} {self.name} of {self.on}"
        if self.found is None:
            return f"- {what}: {_short(self.expected)}"
        if self.expected is None:
            return f"+ {what}: {_short(self.found)}"
        return f"~ {what}: is {_short(self.found)}; should be {_short(self.expected)}"


def _short(definition: str | None) -> str:
    line = " ".join((definition or "").split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} …"


def differences(expected: Iterable[Fact], found: Iterable[Fact]) -> list[Difference]:
    """What sets `found` apart, in the order in which it would be made. What belongs to a relation
    that is no template's, or to one that is missing, is not told apart from it."""
    ours, theirs = _by_key(expected), _by_key(found)
    apart = [
        Difference(*key, ours.get(key), theirs.get(key))
        for key in ours.keys() | theirs.keys()
        if ours.get(key) != theirs.get(key)
    ]
    strange = {d.name for d in apart if d.kind in _RELATIONS and d.expected is None}
    told = [d for d in apart if d.on not in strange or d.kind in _RELATIONS]
    return sorted(told, key=lambda d: (_ORDER[d.kind], d.on, d.name))


_RELATIONS = frozenset({FactKind.TABLE, FactKind.VIEW, FactKind.SEQUENCE})


def _by_key(facts: Iterable[Fact]) -> dict[tuple[FactKind, str, str], str]:
    return {fact.key: fact.definition for fact in facts}
