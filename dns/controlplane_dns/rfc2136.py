"""A zone on a name server that takes dynamic updates (RFC 2136): BIND, Knot DNS and others."""

from collections.abc import AsyncIterator, Sequence
from typing import ClassVar
from uuid import UUID

from controlplane.domain.dns import OwnedRecord, Propagation, Record, RecordType
from controlplane.domain.naming import Mark, Subdomain, parse_mark
from controlplane.errors import ProviderRefused, ProviderUnavailable
from controlplane_dns.ownership import Claim, companion
from controlplane_dns.talk import Server, Talk
from controlplane_dns.updates import Seen, Zone, to_replace
from controlplane_dns.values import canonical

# So often a name is looked at again that has changed between look and update.
_ROUNDS = 4


class Rfc2136:
    """A record per tenant and its ownership record (controlplane_dns.ownership), both in one
    update that holds only if nobody else has the name: of two at once, the server lets one in.

    `primary` takes the updates and allows transfers; a change is in sync once each of the
    `secondaries` answers it too.
    """

    per_tenant: ClassVar[bool] = True

    def __init__(
        self, primary: Server, *, zone: str, domain: str, secondaries: Sequence[Server] = ()
    ) -> None:
        self._primary = primary
        self._secondaries = tuple(secondaries)
        self._zone = Zone(zone=zone, domain=domain)

    async def ensure(self, record: Record, mark: Mark) -> str:
        record = canonical(record)
        async with self._primary.talk() as talk:
            for _ in range(_ROUNDS):
                if await self._is_made(talk, record, mark):
                    return " ".join(Claim.of(record, mark).strings)
        raise ProviderUnavailable(
            f"The name server does not keep what it accepts at the name '{record.name}': it is "
            "being changed by somebody else, or a record stands there that tolerates no other."
        )

    async def absent(self, record: Record, mark: Mark) -> None:
        async with self._primary.talk() as talk:
            for _ in range(_ROUNDS):
                claim = Seen(await self._claims(talk, record.name), in_use=True).claim_of(mark)
                if claim is None or await talk.apply(self._zone.last(claim)):
                    return
        raise ProviderUnavailable(f"The name '{record.name}' is being changed by somebody else.")

    async def find(self, record: Record, mark: Mark) -> bool:
        wanted = canonical(record)
        async with self._primary.talk() as talk:
            seen = await self._look(talk, record.name)
        claim = seen.claim_of(mark)
        return claim is not None and claim.speaks_for(wanted) and wanted in seen.records

    async def propagation(self, reference: str) -> Propagation:
        match reference.split(" "):
            case [mark, name, kind, value] if parse_mark(mark) and kind in set(RecordType):
                claimed: list[tuple[str, ...]] = [(mark, name, kind, value)]
            case _:
                return Propagation.FAILED
        if await self._told_by(self._primary, name) != claimed:
            return Propagation.FAILED
        for secondary in self._secondaries:
            if not await self._has_reached(secondary, name, claimed):
                return Propagation.PENDING
        return Propagation.INSYNC

    async def owned(self, installation: UUID) -> AsyncIterator[OwnedRecord]:
        """Only where ownership record and record agree; by a transfer of the whole zone."""
        claims: dict[str, Claim | None] = {}
        records: dict[Subdomain, list[Record]] = {}
        async with self._primary.talk() as talk:
            async for rrset in talk.transfer(self._zone.origin):
                for label, claim in self._zone.claims([rrset]):
                    claims[label] = None if label in claims else claim
                for record in self._zone.records([rrset]):
                    records.setdefault(record.name, []).append(record)
        for claim in claims.values():
            if claim and claim.mark.installation == installation:
                for record in records.get(claim.name, []):
                    if claim.speaks_for(record):
                        yield OwnedRecord(record, claim.mark)

    async def _is_made(self, talk: Talk, record: Record, mark: Mark) -> bool:
        """One round: False where the name must be looked at again. Raises DnsConflict."""
        if await talk.apply(self._zone.first(record, mark)):
            return True
        seen = await self._look(talk, record.name)
        if seen.is_free:
            return False
        old = to_replace(seen, record, mark)
        if old is None:
            return True
        await talk.apply(self._zone.next(seen, old, record, mark))
        # A server passes over an alias beside other records and calls it success.
        return False

    async def _look(self, talk: Talk, name: Subdomain) -> Seen:
        claims = await self._claims(talk, name)
        if not await talk.apply(self._zone.in_use(name)):
            return Seen(claims, in_use=False)
        owner = self._zone.host(name)
        found = {}
        for kind in (RecordType.A, RecordType.AAAA):
            answered = await talk.query(owner, kind, below_cut=True)
            # An alias answers both questions, and brings along what it leads to.
            here = self._zone.records(rrset for rrset in answered if rrset.name == owner)
            found.update(dict.fromkeys(here))
        return Seen(claims, in_use=True, records=tuple(found))

    async def _claims(self, talk: Talk, name: Subdomain) -> tuple[Claim | None, ...]:
        told = self._zone.host(companion(name))
        here = [rrset for rrset in await talk.query(told, "TXT") if rrset.name == told]
        return tuple(claim for _, claim in self._zone.claims(here))

    async def _told_by(self, server: Server, name: str) -> list[tuple[str, ...]]:
        async with server.talk() as talk:
            claims = await self._claims(talk, Subdomain(name))
        return [claim.strings for claim in claims if claim]

    async def _has_reached(
        self, secondary: Server, name: str, claimed: list[tuple[str, ...]]
    ) -> bool:
        """A secondary that does not answer has not got it yet."""
        try:
            return await self._told_by(secondary, name) == claimed
        except (ProviderUnavailable, ProviderRefused):
            return False
