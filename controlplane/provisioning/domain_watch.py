"""The loop that looks at the DNS of tenants' own domains: claim what is due, look, write what follows.

Any number of workers run this at once. What a look finds is written only where nobody has changed
the row meanwhile; a look that breaks is made again once its lease is over.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from controlplane.domain.dns import RecordType, record_for
from controlplane.domain.dns_look import Ingress, Look, Seen, Way, challenge_name, judge
from controlplane.domain.naming import Subdomain
from controlplane.domain.own_domains import DomainState, Verdict, follows, taken
from controlplane.domain.own_hosts import Host
from controlplane.errors import DomainTaken, ProviderUnavailable
from controlplane.ports import NameLookup
from controlplane.provisioning.waiting import first_of
from controlplane.store import audit, domains
from controlplane.store.audit import Actor
from controlplane.store.domains import Due

log = structlog.get_logger()

_ACTOR = Actor(None, "operation")


@dataclass
class DomainWatch:
    """Looks at what is due until told to stop, at `slots` domains at once: name servers that do not
    answer hold up nobody else's. `wake` is set by whoever heard of a domain to be looked at.

    What nobody has told within `patience_s` nobody can tell; it is written well within `lease_s`.
    """

    database: AsyncEngine
    lookup: NameLookup
    base_domain: str
    dns_target: str
    every_s: float = 5.0
    lease_s: float = 60.0
    patience_s: float = 40.0
    slots: int = 16
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    _looking: set[asyncio.Task[None]] = field(default_factory=set, repr=False)

    async def run(self, stopping: asyncio.Event) -> None:
        """Returns when `stopping` is set; looks that were begun are dropped, and made again later."""
        try:
            while not stopping.is_set():
                self.wake.clear()
                if not await self._begin() or len(self._looking) >= self.slots:
                    await first_of(self.wake, stopping, timeout_s=self.every_s)
        finally:
            for task in self._looking:
                task.cancel()
            await asyncio.gather(*self._looking, return_exceptions=True)

    async def sweep(self) -> int:
        """Look at all that is due now, and return how many those were."""
        count = 0
        while begun := await self._begin():
            count += begun
            await asyncio.gather(*self._looking, return_exceptions=True)
        return count

    async def _begin(self) -> int:
        """Begin as many looks as there are free slots; none while the database is away."""
        free = self.slots - len(self._looking)
        if free <= 0:
            return 0
        try:
            async with self.database.begin() as conn:
                claimed = await domains.claim(conn, limit=free, lease_s=self.lease_s)
        except DBAPIError as error:
            log.warning("domains_not_claimed", error=type(error.orig).__name__)
            return 0
        for due in claimed:
            task = asyncio.create_task(self._deal_with(due))
            self._looking.add(task)
            task.add_done_callback(self._ended)
        return len(claimed)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._looking.discard(task)
        self.wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # The lease runs out by itself, so somebody looks again.
            log.error("look_broke", exc_info=error)

    async def _deal_with(self, due: Due) -> None:
        domain, seen = due.domain, await self._seen(due)
        verdict = follows(domain.standing, seen, now=due.now)
        try:
            is_written = await self._write(due, verdict)
        except DomainTaken:
            verdict = taken(domain.standing, verdict, now=due.now)
            is_written = await self._write(due, verdict)
        _log(due, seen, verdict, is_written=is_written)

    async def _seen(self, due: Due) -> Seen:
        domain = due.domain
        look = Look(None, None)
        ingress = Ingress(f"{due.subdomain}.{self.base_domain}", self.base_domain)
        with suppress(TimeoutError):
            async with asyncio.timeout(self.patience_s):
                look, ingress = await asyncio.gather(
                    self._look(domain.host), self._ingress(due.subdomain)
                )
        return judge(look, host=domain.host, challenge=domain.challenge, ingress=ingress)

    async def _look(self, host: Host) -> Look:
        found = await asyncio.gather(
            self.lookup.texts(challenge_name(host)),
            self.lookup.way(host),
            return_exceptions=True,
        )
        for each in found:
            if isinstance(each, BaseException) and not isinstance(each, ProviderUnavailable):
                raise each
        texts, way = found
        known = None if isinstance(way, BaseException) else way
        if isinstance(texts, BaseException):
            return Look(None, known, why=str(texts))
        return Look(texts, known)

    async def _ingress(self, subdomain: str) -> Ingress:
        """Where the tenant's record leads, as others see it."""
        tenant_host = f"{subdomain}.{self.base_domain}"
        record = record_for(Subdomain(subdomain), self.dns_target)
        if record.type is not RecordType.CNAME:
            address = str(ip_address(record.value))
            return Ingress(tenant_host, self.base_domain, addresses=frozenset({address}))
        name = record.value.removesuffix(".").lower()
        way = Way()
        with suppress(ProviderUnavailable):
            way = await self.lookup.way(name)
        return Ingress(tenant_host, self.base_domain, frozenset({name}), way.addresses)

    async def _write(self, due: Due, verdict: Verdict) -> bool:
        """Raises DomainTaken."""
        domain = due.domain
        async with self.database.begin() as conn:
            is_written = await domains.settle(conn, due, verdict)
            if is_written and verdict.state is not domain.state:
                await audit.write(
                    conn,
                    _ACTOR,
                    f"domain.{verdict.state}",
                    tenant_id=domain.tenant_id,
                    target=domain.host,
                    before={"state": domain.state},
                    after={"state": verdict.state},
                )
        return is_written


def _log(due: Due, seen: Seen, verdict: Verdict, *, is_written: bool) -> None:
    tell = log.warning if verdict.state is DomainState.LOST else log.info
    tell(
        "domain",
        host=due.domain.host,
        tenant=str(due.domain.tenant_id),
        state=str(verdict.state),
        proof=str(seen.proof),
        pointing=str(seen.pointing),
        written=is_written,
    )
