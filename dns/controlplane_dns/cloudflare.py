"""A zone at Cloudflare; needs the extra `cloudflare`."""

from collections.abc import AsyncIterator
from typing import ClassVar
from uuid import UUID

from controlplane.domain.dns import OwnedRecord, Propagation, Record, RecordType
from controlplane.domain.naming import Mark, Subdomain
from controlplane.errors import ProviderUnavailable
from controlplane.ports import Turns
from controlplane_dns.cloudflare_api import URL, Api, Talk
from controlplane_dns.cloudflare_zone import (
    Names,
    comment,
    comment_start,
    of_tenant,
    parse_comment,
)
from controlplane_dns.turnstile import Turnstile
from controlplane_dns.values import canonical

# So often a name is looked at again that has changed between look and change.
_ROUNDS = 4


class Cloudflare:
    """A record per tenant, whose comment carries the mark: both come with one request, and go.

    Nothing here is conditional, so every change is looked at before and, where the zone itself would
    let a second one in, after. What was read is changed and removed by its id.

    Requests are made when `turns` allow; without, at once. Where they do not, ProviderBusy says
    when to come back.
    """

    per_tenant: ClassVar[bool] = True

    def __init__(
        self,
        *,
        zone_id: str,
        token: str,
        domain: str,
        timeout_s: float,
        turns: Turns | None = None,
        url: str = URL,
    ) -> None:
        self._api = Api(zone_id=zone_id, token=token, url=url, timeout_s=timeout_s)
        self._names = Names(domain)
        self._turnstile = Turnstile("Cloudflare", turns)

    async def ensure(self, record: Record, mark: Mark) -> str:
        record = canonical(record)
        # Look, make, and read back; whom somebody gets in the way of looks more often.
        requests = 2 if record.type is RecordType.CNAME else 3
        async with self._turnstile.turn(mark, requests=requests), self._api.talk() as talk:
            for _ in range(_ROUNDS):
                if await self._is_made(talk, record, mark):
                    return f"{record.name} {comment(mark)}"
        raise ProviderUnavailable(
            f"The name '{record.name}' is being changed by somebody else, or Cloudflare does not "
            "show yet what it holds."
        )

    async def absent(self, record: Record, mark: Mark) -> None:
        async with self._turnstile.turn(mark, requests=2), self._api.talk() as talk:
            for one in of_tenant(await talk.at(self._names.host(record.name)), mark):
                await talk.delete(one.id)

    async def find(self, record: Record, mark: Mark) -> bool:
        wanted = canonical(record)
        async with self._turnstile.turn(mark, requests=1), self._api.talk() as talk:
            found = await talk.at(self._names.host(record.name))
        return any(one.fits(wanted) for one in of_tenant(found, mark))

    async def propagation(self, reference: str) -> Propagation:
        """Cloudflare tells nothing of it: its servers answer what its API accepted in seconds."""
        name, _, told = reference.partition(" ")
        if parse_comment(told) is None:
            return Propagation.FAILED
        async with self._turnstile.turn(reference, requests=1), self._api.talk() as talk:
            found = await talk.at(self._names.host(name))
        is_there = any(one.comment == told for one in found)
        return Propagation.INSYNC if is_there else Propagation.FAILED

    async def owned(self, installation: UUID) -> AsyncIterator[OwnedRecord]:
        """Waits for its turn: no operation is held."""
        await self._turnstile.comes(f"list {installation}")
        async with self._api.talk() as talk:
            found = await talk.commented(comment_start(installation))
        for one in found:
            label, mark = self._names.label(one.name), one.mark
            record = one.record(Subdomain(label)) if label else None
            # The filter makes no difference between capital and small letters.
            if record and mark and mark.installation == installation:
                yield OwnedRecord(record, mark)

    async def _is_made(self, talk: Talk, record: Record, mark: Mark) -> bool:
        """One round: False where the name must be looked at again. Raises DnsConflict."""
        found = await talk.at(self._names.host(record.name))
        changes = self._names.changes(found, record, mark)
        if changes is None:
            return True
        is_done = await talk.apply(changes)
        # Cloudflare lets addresses stand beside each other, but nothing beside an alias.
        return is_done and record.type is RecordType.CNAME
