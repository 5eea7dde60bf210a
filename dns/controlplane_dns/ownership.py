"""The ownership record: says whose a record is, where the record itself has no room for a mark.

It is a TXT record at `_cp-<label>`, for beside a CNAME no other record may stand. Its strings are
the mark and the record that it speaks for, so that exactly this one is ever changed or removed:

    acme      300 IN A   192.0.2.7
    _cp-acme  300 IN TXT "controlplane/<installation>/<tenant>/<operation>" "acme" "A" "192.0.2.7"
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from controlplane.domain.dns import Record, RecordType
from controlplane.domain.naming import Mark, Subdomain, parse_mark

_LONGEST_LABEL = 63


@dataclass(frozen=True)
class Claim:
    """What an ownership record says: this value, at this name, was put there under this mark."""

    mark: Mark
    name: Subdomain
    type: RecordType
    value: str

    @classmethod
    def of(cls, record: Record, mark: Mark) -> "Claim":
        """The record must be canonical."""
        return cls(mark, record.name, record.type, record.value)

    @property
    def strings(self) -> tuple[str, str, str, str]:
        """The TXT record's strings, each of at most 255 characters."""
        return str(self.mark), self.name, self.type, self.value

    def speaks_for(self, record: Record) -> bool:
        """Whether it is about this record, whatever its TTL."""
        return (self.name, self.type, self.value) == (record.name, record.type, record.value)


def companion(name: str) -> str:
    """The label of the ownership record; a label that would grow too long is told by its digest."""
    label = f"_cp-{name}"
    if len(label) <= _LONGEST_LABEL:
        return label
    return f"_cp--{sha256(name.encode()).hexdigest()[:32]}"


def parse_claim(strings: Sequence[str], *, at: str) -> Claim | None:
    """The claim in the strings of a TXT record at the label `at`; None for whatever else it is."""
    match strings:
        case [mark_text, name, kind, value] if companion(name) == at and kind in set(RecordType):
            mark = parse_mark(mark_text)
            return Claim(mark, Subdomain(name), RecordType(kind), value) if mark else None
    return None
