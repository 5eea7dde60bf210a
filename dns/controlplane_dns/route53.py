"""A hosted zone of Amazon Route 53; needs the extra `route53`."""

from collections.abc import AsyncIterator
from typing import Any, ClassVar
from uuid import UUID

from controlplane.domain.dns import OwnedRecord, Propagation, Record, RecordType
from controlplane.domain.naming import Mark
from controlplane.errors import ProviderRefused, ProviderUnavailable
from controlplane.ports import Turns
from controlplane_dns.ownership import Claim, companion
from controlplane_dns.route53_batch import Batch, Seen, Set, Zone, name_of
from controlplane_dns.route53_talk import BatchRefused, Talk, UnknownChange
from controlplane_dns.turnstile import Turnstile
from controlplane_dns.values import canonical

# What Route 53 says of a batch that was right for what stood there a moment ago.
_OVERTAKEN = ("already exists", "conflicts with other records", "not found", "do not match")
# So often a name is looked at again that has changed between look and change.
_ROUNDS = 2
_REMEMBERED = 1_000
# Sets at one name are fewer; a page is one request however long it is, up to the most allowed.
_FEW, _MOST = "20", "300"


class Route53:
    """A record per tenant and its ownership record (controlplane_dns.ownership), both in one batch,
    which only creates and deletes: of two at once, Route 53 lets one in.

    Requests are made when `turns` allow; without, at once. Where they do not, ProviderBusy says when to
    come back. `close` when done.
    """

    per_tenant: ClassVar[bool] = True

    def __init__(
        self, talk: Talk, *, zone_id: str, domain: str, turns: Turns | None = None
    ) -> None:
        self._talk = talk
        self._zone_id = zone_id
        self._zone = Zone(domain)
        self._turnstile = Turnstile("Route 53", turns)
        # Of which Route 53 has said just now that they are; asking the same at once is in vain.
        self._pending: set[str] = set()
        # Whose name is not as it was taken to be: it is looked at before the next try.
        self._met: set[Mark] = set()

    def close(self) -> None:
        self._talk.close()

    async def ensure(self, record: Record, mark: Mark) -> str:
        """The reference is the change's id."""
        record = canonical(record)
        if record.type is RecordType.CNAME and mark not in self._met:
            try:
                async with self._turnstile.turn(mark, requests=1):
                    return await self._change(self._zone.first(record, mark))
            except BatchRefused:
                self._meet(mark)
        # Beside an address, Route 53 would let other addresses and texts stand.
        for _ in range(_ROUNDS):
            async with self._turnstile.turn(mark, requests=3):
                seen = Seen(*await self._both(record.name))
                reference = await self._changed(self._zone.made(seen, record, mark), record)
            if reference:
                self._met.discard(mark)
                return reference
        raise _overtaken(record)

    async def absent(self, record: Record, mark: Mark) -> None:
        if mark not in self._met:
            try:
                async with self._turnstile.turn(mark, requests=2):
                    found = self._zone.claims(await self._at(companion(record.name)), mark)
                    if found is None:
                        return
                    await self._change(self._zone.gone(self._zone.claimed(*found), mark))
            except BatchRefused:
                self._meet(mark)
            else:
                return
        async with self._turnstile.turn(mark, requests=3):
            seen = Seen(*await self._both(record.name))
            batch = self._zone.gone(seen, mark)
            if batch and not await self._changed(batch, record):
                raise _overtaken(record)
        self._met.discard(mark)

    async def find(self, record: Record, mark: Mark) -> bool:
        async with self._turnstile.turn(mark, requests=2):
            seen = Seen(*await self._both(record.name))
        return self._zone.holds(seen, canonical(record), mark)

    async def propagation(self, reference: str) -> Propagation:
        if reference in self._pending:
            self._pending.discard(reference)
            return Propagation.PENDING
        if not reference.isalnum():
            return Propagation.FAILED
        try:
            async with self._turnstile.turn(reference, requests=1):
                answer = await self._talk.ask("get_change", Id=reference)
        except UnknownChange:
            return Propagation.FAILED
        return _status(answer)

    async def owned(self, installation: UUID) -> AsyncIterator[OwnedRecord]:
        """Only where ownership record and record agree. Waits for its turn: no operation is held."""
        claims: dict[str, Claim] = {}
        records: dict[str, Record] = {}
        async for one in self._all(installation):
            claim, record = self._zone.claim(one), self._zone.record(one)
            if claim and claim.mark.installation == installation:
                claims[claim.name] = claim
            # Route 53 allows addresses of both kinds at a name; the claim is about one.
            if record:
                records[f"{record.name} {record.type}"] = record
        for claim in claims.values():
            found = records.get(f"{claim.name} {claim.type}")
            if found and claim.speaks_for(found):
                yield OwnedRecord(found, claim.mark)

    async def _changed(self, batch: Batch, record: Record) -> str | None:
        """The change's id; None where the name is no longer as it was seen."""
        try:
            return await self._change(batch)
        except BatchRefused as refused:
            reason = str(refused)
            if not reason or any(said in reason for said in _OVERTAKEN):
                return None
            raise ProviderRefused(
                f"Route 53 refuses the record '{record.name}': {reason}"
            ) from None

    async def _change(self, batch: Batch) -> str:
        answer = await self._talk.ask(
            "change_resource_record_sets",
            HostedZoneId=self._zone_id,
            ChangeBatch={"Changes": batch},
        )
        reference: str = answer["ChangeInfo"]["Id"].rpartition("/")[2]
        if _status(answer) is Propagation.PENDING:
            _bound(self._pending)
            self._pending.add(reference)
        return reference

    def _meet(self, mark: Mark) -> None:
        _bound(self._met)
        self._met.add(mark)

    async def _both(self, name: str) -> tuple[tuple[Set, ...], tuple[Set, ...]]:
        return await self._at(name), await self._at(companion(name))

    async def _at(self, label: str) -> tuple[Set, ...]:
        """The sets at a name. Names are listed in order, from the one that is asked for on."""
        host = self._zone.host(label)
        answer = await self._list(StartRecordName=host, MaxItems=_FEW)
        return tuple(one for one in answer["ResourceRecordSets"] if name_of(one) == host)

    async def _all(self, installation: UUID) -> AsyncIterator[Set]:
        start: dict[str, str] | None = {}
        while start is not None:
            await self._turnstile.comes(f"list {installation}")
            answer = await self._list(MaxItems=_MOST, **start)
            for one in answer["ResourceRecordSets"]:
                yield one
            start = _following(answer)

    async def _list(self, **terms: str) -> dict[str, Any]:
        request = "list_resource_record_sets"
        return await self._talk.ask(request, HostedZoneId=self._zone_id, **terms)


def _status(answer: dict[str, Any]) -> Propagation:
    is_there = answer["ChangeInfo"]["Status"] == "INSYNC"
    return Propagation.INSYNC if is_there else Propagation.PENDING


def _following(answer: dict[str, Any]) -> dict[str, str] | None:
    """Where the next page begins; None after the last."""
    if not answer["IsTruncated"]:
        return None
    start = {
        "StartRecordName": answer["NextRecordName"],
        "StartRecordType": answer["NextRecordType"],
    }
    if "NextRecordIdentifier" in answer:
        start["StartRecordIdentifier"] = answer["NextRecordIdentifier"]
    return start


def _overtaken(record: Record) -> ProviderUnavailable:
    return ProviderUnavailable(f"The name '{record.name}' is being changed by somebody else.")


def _bound(kept: set[Any]) -> None:
    """What is forgotten costs a request each, and no more."""
    if len(kept) >= _REMEMBERED:
        kept.clear()
