"""Many tenants at once, and a Route 53 that throttles."""

from collections.abc import AsyncIterator, Iterator

import pytest

from controlplane.store.ratelimit import PostgresRateLimits
from controlplane.store.turns import PostgresTurns
from tests.contract.crowd import ThrottlingFront, served
from tests.contract.dns_peers import ZONE
from tests.contract.ratelimit_peers import pool_of
from tests.contract.route53_peer import Route53Peer
from tests.database import Database, Server, fresh_database

pytestmark = pytest.mark.anyio
CROWD = 40


@pytest.fixture(scope="module")
def queueing(server: Server) -> Iterator[Database]:
    with fresh_database(server) as made:
        yield made


@pytest.fixture
async def peer(moto: str) -> AsyncIterator[Route53Peer]:
    async with ThrottlingFront(moto) as front:
        peer = Route53Peer(moto, front, ZONE)
        try:
            yield peer
        finally:
            peer.close()


async def test_a_crowd_is_served_in_order_without_ever_being_throttled(
    peer: Route53Peer, queueing: Database
) -> None:
    front = peer.front
    assert isinstance(front, ThrottlingFront)
    front.pending = 1
    async with pool_of(queueing.control_url) as pool:
        counts = PostgresRateLimits(pool, clock=lambda: front.now)
        turns = PostgresTurns(pool, counts, name="aws", per_s=5, clock=lambda: front.now)
        replicas = [peer.another(turns=turns) for _ in range(2)]
        done = await served(front, replicas, tenants=CROWD, seed=7)
    assert len([one for one in peer.world() if one["Type"] == "CNAME"]) == CROWD
    assert front.throttled == 0
    assert front.most_in_a_second() == 5
    # One to make it, two to ask about it: nothing was asked in vain, and hardly a turn left unused.
    assert len(front.times) == 3 * CROWD
    assert done[-1].after_s < 1.2 * 3 * CROWD / 5
    # The engine's waits are up to a quarter longer than told, so neighbours may change places.
    assert all(abs(place - one.number) <= CROWD // 4 for place, one in enumerate(done))
