"""Requests to Cloudflare are made in turn: no more than it allows, whoever else is asking."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from controlplane.domain.dns import Record, RecordType
from controlplane.domain.naming import Subdomain
from controlplane.errors import ProviderBusy, ProviderUnavailable
from controlplane.store.turns import PostgresTurns
from controlplane_dns.cloudflare import Cloudflare
from controlplane_dns.turnstile import Turnstile
from tests.contract.cloudflare_fake import CloudflareFake
from tests.contract.cloudflare_peer import ZONE, provider
from tests.contract.crowd import pausing, served
from tests.contract.ratelimit_peers import pool_of
from tests.contract.test_dns_contract import ACME, owned, record
from tests.database import Database, Server, fresh_database
from tests.http_proxy import Fault
from tests.http_server import Request

pytestmark = pytest.mark.anyio
ALIAS = Record(Subdomain("acme"), RecordType.CNAME, "ingress.example.net.")


class Counted:
    """Lets everybody through who does not have to wait, and keeps count."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.taken: list[tuple[str, int]] = []
        self.first: list[tuple[str, int]] = []

    async def take(self, holder: str, *, requests: int) -> float:
        if self.waits:
            return self.waits.pop(0)
        self.taken.append((holder, requests))
        return 0.0

    async def put_first(self, holder: str, *, requests: int) -> None:
        self.first.append((holder, requests))


@pytest.fixture
async def fake() -> AsyncIterator[CloudflareFake]:
    async with CloudflareFake(ZONE) as opened:
        yield opened


@pytest.fixture
def turns() -> Counted:
    return Counted()


@pytest.fixture
def zone(fake: CloudflareFake, turns: Counted) -> Cloudflare:
    return provider(fake.api, turns=turns)


CALLS: list[Callable[[Cloudflare], Awaitable[object]]] = [
    lambda zone: zone.ensure(record(), ACME),
    lambda zone: zone.ensure(ALIAS, ACME),
    lambda zone: zone.find(record(), ACME),
    lambda zone: zone.absent(record(), ACME),
    owned,
]


@pytest.mark.parametrize("call", CALLS)
async def test_every_request_has_its_turn(
    fake: CloudflareFake,
    turns: Counted,
    zone: Cloudflare,
    call: Callable[[Cloudflare], Awaitable[object]],
) -> None:
    await call(zone)
    assert len(fake.requests) <= sum(requests for _, requests in turns.taken) <= 3
    taken = len(turns.taken)
    await zone.propagation(await zone.ensure(record(), ACME))
    assert [requests for _, requests in turns.taken[taken:]] == [3, 1]


@pytest.mark.parametrize("call", CALLS[:-1])
async def test_whoever_must_wait_asks_nothing_and_is_told_how_long(
    fake: CloudflareFake,
    turns: Counted,
    zone: Cloudflare,
    call: Callable[[Cloudflare], Awaitable[object]],
) -> None:
    turns.waits = [12.5]
    with pytest.raises(ProviderBusy, match="waits for its turn") as caught:
        await call(zone)
    assert caught.value.wait_s == 12.5
    assert fake.requests == []


@pytest.mark.parametrize("call", CALLS[:-1])
async def test_whoever_gets_no_answer_goes_first_when_he_comes_again(
    fake: CloudflareFake,
    turns: Counted,
    zone: Cloudflare,
    call: Callable[[Cloudflare], Awaitable[object]],
) -> None:
    fake.faults = [Fault(429, headers={"Retry-After": "30"}, times=1)]
    with pytest.raises(ProviderUnavailable):
        await call(zone)
    assert turns.first == turns.taken
    await call(zone)
    assert turns.first == turns.taken[:1]


async def test_who_is_cut_off_goes_first_when_he_comes_again(turns: Counted) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0), Turnstile("Cloudflare", turns).turn("acme", requests=2):
            await asyncio.Event().wait()
    assert turns.first == [("acme", 2)]


async def test_a_listing_holds_nobody_up_and_waits(
    fake: CloudflareFake, turns: Counted, zone: Cloudflare
) -> None:
    turns.waits = [0.001, 0.001]
    assert await owned(zone) == []
    assert len(fake.requests) == 1
    assert turns.waits == []


class Clocked(CloudflareFake):
    """Remembers at what time of its own each request came."""

    def __init__(self, zone: str) -> None:
        super().__init__(zone)
        self.now = 1_000_000.0
        self.times: list[float] = []

    async def respond(self, request: Request) -> bytes:
        self.times.append(self.now)
        return await super().respond(request)


@pytest.fixture(scope="module")
def queueing(server: Server) -> Iterator[Database]:
    with fresh_database(server) as made:
        yield made


async def test_a_crowd_never_asks_more_than_cloudflare_allows(queueing: Database) -> None:
    async with Clocked(ZONE) as fake, pool_of(queueing.control_url) as pool:
        turns = PostgresTurns(
            pool, name="cloud", per_s=4, clock=lambda: fake.now, pause=pausing(fake)
        )
        replicas = [provider(fake.api, turns=turns) for _ in range(2)]
        done = await served(fake, replicas, tenants=12, seed=7)
    assert len(done) == len(fake.records) == 12
    assert max(sum(at - 1 < other <= at for other in fake.times) for at in fake.times) <= 4
