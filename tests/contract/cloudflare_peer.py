"""Cloudflare's stand-in as a peer of the DNS contract: behind a proxy, and with faults of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from controlplane.domain.dns import RecordType
from controlplane.ports import Turns
from controlplane_dns.cloudflare import Cloudflare
from tests.contract.cloudflare_fake import TOKEN, ZONE_ID, CloudflareFake
from tests.http_server import Fault
from tests.proxy import Proxy

ZONE = "example.com"
CHANGES = "POST PATCH PUT DELETE"


def provider(
    url: str,
    *,
    zone_id: str = ZONE_ID,
    token: str = TOKEN,
    domain: str = ZONE,
    timeout_s: float = 30,
    turns: Turns | None = None,
) -> Cloudflare:
    return Cloudflare(
        zone_id=zone_id, token=token, domain=domain, timeout_s=timeout_s, turns=turns, url=url
    )


class CloudflarePeer:
    def __init__(self, fake: CloudflareFake, proxy: Proxy) -> None:
        self.fake = fake
        self.proxy = proxy
        self._dns = self.another()

    @property
    def dns(self) -> Cloudflare:
        return self._dns

    def another(self) -> Cloudflare:
        return provider(self.proxy.url(self.fake.api))

    def place_foreign(self, name: str, kind: RecordType, value: str) -> None:
        self.fake.place(f"{name}.{ZONE}", kind, value)

    def world(self) -> object:
        return {key: dict(kept) for key, kept in self.fake.records.items()}

    async def cut_off(self) -> None:
        await self.proxy.refuse()

    async def restore(self) -> None:
        await self.proxy.accept()

    def lose_request(self) -> None:
        self.fake.faults = [Fault(503, method=CHANGES)]

    def lose_answer(self) -> None:
        self.fake.faults = [Fault(504, method=CHANGES, after_effect=True)]

    def throttle(self, *, retry_after_s: float) -> None:
        self.fake.faults = [Fault(429, headers={"Retry-After": f"{retry_after_s:.0f}"})]


@asynccontextmanager
async def open_cloudflare() -> AsyncIterator[CloudflarePeer]:
    fake = CloudflareFake(ZONE)
    async with fake, Proxy("127.0.0.1", fake.port) as proxy:
        yield CloudflarePeer(fake, proxy)
