"""Many tenants at once, and a Route 53 that throttles."""

from collections.abc import AsyncIterator, Iterator

import pytest

from controlplane.store.turns import PostgresTurns
from controlplane_dns.route53 import Route53
from tests.contract.crowd import ThrottlingFront, pausing, served
from tests.contract.dns_peers import ZONE
from tests.contract.ratelimit_peers import pool_of
from tests.contract.route53_peer import Route53Peer
from tests.database import Database, Server, fresh_database

pytestmark = pytest.mark.anyio
CROWD = 24


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


@pytest.fixture
async def replicas(peer: Route53Peer, queueing: Database) -> AsyncIterator[list[Route53]]:
    """Two, with one queue."""
    front = front_of(peer)
    async with pool_of(queueing.control_url) as pool:
        turns = PostgresTurns(
            pool, name=peer.zone_id, per_s=5, clock=lambda: front.now, pause=pausing(front)
        )
        yield [peer.another(turns=turns) for _ in range(2)]


def front_of(peer: Route53Peer) -> ThrottlingFront:
    assert isinstance(peer.front, ThrottlingFront)
    return peer.front


async def test_a_crowd_is_served_in_order_without_ever_being_throttled(
    peer: Route53Peer, replicas: list[Route53]
) -> None:
    front = front_of(peer)
    front.pending = 1
    done = await served(front, replicas, tenants=CROWD, seed=7)
    assert len([one for one in peer.world() if one["Type"] == "CNAME"]) == CROWD
    assert front.throttled == 0
    assert front.most_in_a_second() == 5
    # One to make it, two to ask about it: nothing was asked in vain, and hardly a turn left unused.
    assert len(front.times) == 3 * CROWD
    assert done[-1].after_s < 1.4 * 3 * CROWD / 5
    # Waits for what spreads are up to a quarter longer than told, so neighbours may change places.
    assert all(abs(place - one.number) <= 5 for place, one in enumerate(done))
    # Each joins, makes it, joins, asks, joins and asks again, and now and then is a moment too early.
    assert sum(one.tries for one in done) <= 7 * CROWD


async def test_whom_route_53_throttles_because_of_others_does_not_lose_his_place(
    peer: Route53Peer, replicas: list[Route53]
) -> None:
    front = front_of(peer)
    front.pending, front.of_others = 1, 6
    done = await served(front, replicas, tenants=CROWD, seed=7)
    assert len([one for one in peer.world() if one["Type"] == "CNAME"]) == CROWD
    assert front.throttled >= 10
    # Some have to let a second or two go by; the rest stay in order.
    moved = sorted(abs(place - one.number) for place, one in enumerate(done))
    assert moved[12] <= 3, moved
