"""Batches of changes to one tenant's records at Route 53, and how its record sets are read. Pure.

Route 53 applies a batch whole or not at all. CREATE fails where a set of that name and type is
there, or an alias at the name; DELETE fails unless TTL and values are exactly those that are there.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any

from controlplane.domain.dns import Record, RecordType
from controlplane.domain.naming import Mark, Subdomain
from controlplane.errors import DnsConflict
from controlplane_dns.ownership import Claim, companion, parse_claim

Set = dict[str, Any]
Batch = list[dict[str, Any]]

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Seen:
    """The record sets at a tenant's name and at its ownership name, as Route 53 lists them."""

    at_name: tuple[Set, ...]
    at_companion: tuple[Set, ...]

    @property
    def is_free(self) -> bool:
        return not self.at_name and not self.at_companion


class Zone:
    """Tenants' names are labels below `domain`."""

    def __init__(self, domain: str) -> None:
        self._below = f".{domain}."

    def host(self, label: str) -> str:
        return f"{label}{self._below}"

    def label(self, one: Set) -> str | None:
        """The label of a set directly below the domain; None for any other."""
        name = name_of(one)
        label = name.removesuffix(self._below)
        return None if label == name or "." in label else label

    def record(self, one: Set) -> Record | None:
        """The one record of a plain set of a type that tenants have; None for any other."""
        label, values = self.label(one), values_of(one)
        if label is None or one["Type"] not in set(RecordType) or len(values) != 1:
            return None
        kind = RecordType(one["Type"])
        return Record(Subdomain(label), kind, _spelled(kind, values[0]), one["TTL"])

    def claim(self, one: Set) -> Claim | None:
        """The claim in an ownership record; None for whatever else the set is."""
        label, values = self.label(one), values_of(one)
        if label is None or one["Type"] != "TXT" or len(values) != 1:
            return None
        return parse_claim(_QUOTED.findall(values[0]), at=label)

    def first(self, record: Record, mark: Mark) -> Batch:
        """Takes the name. Holds only if nobody has its ownership record, nor this type of record."""
        return [_change("CREATE", one) for one in self._pair(record, mark)]

    def made(self, seen: Seen, record: Record, mark: Mark) -> Batch:
        """What makes the record the tenant's only one at its name, if all is still as it was seen.

        Even where nothing is to change: it is the change that Route 53 can be asked about. Raises
        DnsConflict where anything at the name is not this tenant's.
        """
        if seen.is_free:
            return self.first(record, mark)
        claim = self._claim_of(seen, mark)
        if claim is None:
            held_at = companion(record.name) if seen.at_companion else record.name
            raise DnsConflict(
                f"The name '{record.name}' is held by a record at '{held_at}' that is not this "
                "tenant's; remove it or choose another subdomain."
            )
        foreign = [one for one in seen.at_name if not self._speaks_for(claim, one)]
        if foreign:
            raise DnsConflict(
                f"At the name '{record.name}' stands a record of type {foreign[0]['Type']} that is "
                "not what was put there for this tenant; remove it."
            )
        old = [*seen.at_name, *seen.at_companion]
        return [*(_change("DELETE", one) for one in old), *self.first(record, mark)]

    def gone(self, seen: Seen, mark: Mark) -> Batch:
        """What takes away the tenant's claim and exactly the record that it speaks for."""
        claim = self._claim_of(seen, mark)
        if claim is None:
            return []
        batch = [_change("DELETE", one) for one in seen.at_companion]
        for one in seen.at_name:
            batch += self._without(claim, one)
        return batch

    def holds(self, seen: Seen, record: Record, mark: Mark) -> bool:
        """Whether exactly this record is there under the mark's tenant."""
        claim = self._claim_of(seen, mark)
        is_there = record in [self.record(one) for one in seen.at_name]
        return claim is not None and claim.speaks_for(record) and is_there

    def _pair(self, record: Record, mark: Mark) -> list[Set]:
        # What is canonical needs no escape. With the record's TTL, the claim tells all of it.
        told = " ".join(f'"{string}"' for string in Claim.of(record, mark).strings)
        return [
            _set(self.host(record.name), record.type, record.ttl, record.value),
            _set(self.host(companion(record.name)), "TXT", record.ttl, told),
        ]

    def claimed(self, told: Set, claim: Claim) -> Seen:
        """What stands at the claim's name if nobody has touched it since it was made."""
        record = _set(self.host(claim.name), claim.type, told["TTL"], claim.value)
        return Seen((record,), (told,))

    def claims(self, sets: Iterable[Set], mark: Mark) -> tuple[Set, Claim] | None:
        """The one set among those of an ownership name that is a claim of the mark's tenant."""
        match list(sets):
            case [one] if (claim := self.claim(one)) and mark.same_tenant(claim.mark):
                return one, claim
        return None

    def _claim_of(self, seen: Seen, mark: Mark) -> Claim | None:
        found = self.claims(seen.at_companion, mark)
        return found[1] if found else None

    def _speaks_for(self, claim: Claim, one: Set) -> bool:
        record = self.record(one)
        return record is not None and claim.speaks_for(record)

    def _without(self, claim: Claim, one: Set) -> Batch:
        """Takes the claim's value out of a set, and leaves what somebody has put beside it."""
        values = values_of(one)
        left = [value for value in values if _spelled(claim.type, value) != claim.value]
        if one["Type"] != claim.type or len(left) == len(values):
            return []
        gone = [_change("DELETE", one)]
        if not left:
            return gone
        kept = {**one, "ResourceRecords": [{"Value": value} for value in left]}
        return [*gone, _change("CREATE", kept)]


def name_of(one: Set) -> str:
    """In lower case, with its final dot and without escapes."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), one["Name"]).lower()


def values_of(one: Set) -> list[str]:
    """The values of a plain set; none of one that Route 53 answers by a policy or an alias."""
    if "SetIdentifier" in one or "AliasTarget" in one:
        return []
    return [value["Value"] for value in one.get("ResourceRecords", [])]


def _set(name: str, kind: str, ttl: int, value: str) -> Set:
    return {"Name": name, "Type": kind, "TTL": ttl, "ResourceRecords": [{"Value": value}]}


def _change(action: str, one: Set) -> dict[str, Any]:
    return {"Action": action, "ResourceRecordSet": one}


def _spelled(kind: RecordType, value: str) -> str:
    if kind is RecordType.CNAME:
        return f"{value.lower().removesuffix('.')}."
    return str(IPv6Address(value)) if kind is RecordType.AAAA else value
