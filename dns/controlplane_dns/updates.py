"""Messages of RFC 2136 about one tenant's record: what must hold, and what is to change. Pure.

What must hold and what changes go in one message, which a server applies whole or not at all.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.rdata import Rdata
from dns.update import UpdateMessage

from controlplane.domain.dns import Record, RecordType
from controlplane.domain.naming import Mark, Subdomain
from controlplane.errors import DnsConflict
from controlplane_dns.ownership import Claim, companion, parse_claim

_OWNERSHIP_TTL_S = 300


@dataclass(frozen=True)
class Seen:
    """What stands at a tenant's name: `claims` are the TXT records of the ownership name (None for
    one that is not ours to read), `records` the addresses and aliases of the name itself. Where
    `in_use` is not set, the name holds nothing at all."""

    claims: tuple[Claim | None, ...]
    in_use: bool
    records: tuple[Record, ...] = ()

    @property
    def is_free(self) -> bool:
        return not self.claims and not self.in_use

    def claim_of(self, mark: Mark) -> Claim | None:
        """The one claim, if it is of the mark's tenant."""
        claim = self.claims[0] if len(self.claims) == 1 else None
        return claim if claim and mark.same_tenant(claim.mark) else None


class Zone:
    """Builds the messages; tenants' names are labels below `domain`, which lies in `zone`."""

    def __init__(self, *, zone: str, domain: str) -> None:
        self.origin = dns.name.from_text(zone)
        self._domain = dns.name.from_text(domain)

    def host(self, label: str) -> dns.name.Name:
        return dns.name.Name([label.encode()]).concatenate(self._domain)

    def label(self, name: dns.name.Name) -> str | None:
        """The label of a name that stands directly below the domain; None for any other."""
        is_below = len(name) == len(self._domain) + 1 and name.is_subdomain(self._domain)
        return name.labels[0].decode("latin-1").lower() if is_below else None

    def first(self, record: Record, mark: Mark) -> UpdateMessage:
        """Takes the name, if neither it nor its ownership name is in use."""
        message = UpdateMessage(self.origin)
        owner, told = self.host(record.name), self.host(companion(record.name))
        message.absent(owner)
        message.absent(told)
        message.add(owner, record.ttl, _value(record))
        message.add(told, _OWNERSHIP_TTL_S, _text(Claim.of(record, mark)))
        return message

    def next(self, seen: Seen, old: Claim, record: Record, mark: Mark) -> UpdateMessage:
        """Puts the record in the place of the old claim's, if all is still as it was seen."""
        message = UpdateMessage(self.origin)
        owner, told = self.host(record.name), self.host(companion(record.name))
        message.present(told, _text(old))
        for kind in RecordType:
            standing = [one for one in seen.records if one.type is kind]
            if standing:
                message.present(owner, _value(standing[0]))
            else:
                message.absent(owner, kind)
        for one in seen.records:
            message.delete(owner, _value(one))
        message.add(owner, record.ttl, _value(record))
        message.delete(told, _text(old))
        message.add(told, _OWNERSHIP_TTL_S, _text(Claim.of(record, mark)))
        return message

    def last(self, claim: Claim) -> UpdateMessage:
        """Takes away the claim and exactly the record that it speaks for, if the claim stands."""
        message = UpdateMessage(self.origin)
        owner, told = self.host(claim.name), self.host(companion(claim.name))
        message.present(told, _text(claim))
        message.delete(owner, dns.rdata.from_text(dns.rdataclass.IN, claim.type, claim.value))
        message.delete(told, _text(claim))
        return message

    def in_use(self, name: str) -> UpdateMessage:
        """Changes nothing; holds if the name itself has any record. A query would not tell: a
        wildcard answers for names that are not there."""
        message = UpdateMessage(self.origin)
        message.present(self.host(name))
        return message

    def records(self, rrsets: Iterable[dns.rrset.RRset]) -> Iterator[Record]:
        """Those of the types that tenants have, at names directly below the domain."""
        for rrset in rrsets:
            label, kind = self.label(rrset.name), dns.rdatatype.to_text(rrset.rdtype)
            if label is not None and kind in set(RecordType):
                for rdata in rrset:
                    value = _spelled(rdata)
                    yield Record(Subdomain(label), RecordType(kind), value, rrset.ttl)

    def claims(self, rrsets: Iterable[dns.rrset.RRset]) -> Iterator[tuple[str, Claim | None]]:
        """Each TXT record directly below the domain: its label, and its claim if it is one."""
        for rrset in rrsets:
            label = self.label(rrset.name)
            if label is not None and rrset.rdtype == dns.rdatatype.TXT:
                for rdata in rrset:
                    strings = [string.decode("latin-1") for string in rdata.strings]
                    yield label, parse_claim(strings, at=label)


def to_replace(seen: Seen, record: Record, mark: Mark) -> Claim | None:
    """The claim that must give way to the record; None where all is as it should be.

    Raises DnsConflict where anything at the name is not this tenant's.
    """
    claim = seen.claim_of(mark)
    if claim is None:
        what = companion(record.name) if seen.claims else record.name
        raise DnsConflict(
            f"The name '{record.name}' is held by a record at '{what}' that is not this tenant's; "
            "remove it or choose another subdomain."
        )
    if foreign := [one for one in seen.records if not claim.speaks_for(one)]:
        raise DnsConflict(
            f"At the name '{record.name}' stands {foreign[0].type} {foreign[0].value}, which is not "
            "what was put there for this tenant; remove it."
        )
    as_it_should = claim == Claim.of(record, mark) and seen.records == (record,)
    return None if as_it_should else claim


def _value(record: Record) -> Rdata:
    return dns.rdata.from_text(dns.rdataclass.IN, record.type, record.value)


def _text(claim: Claim) -> Rdata:
    # The record is canonical, so nothing in it needs an escape.
    quoted = " ".join(f'"{string}"' for string in claim.strings)
    return dns.rdata.from_text(dns.rdataclass.IN, "TXT", quoted)


def _spelled(rdata: Rdata) -> str:
    text = rdata.to_text()
    return str(IPv6Address(text)) if rdata.rdtype == dns.rdatatype.AAAA else text.lower()
