"""What every provider with a network in between promises when requests and answers get lost."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from controlplane.domain.dns import OwnedRecord
from controlplane.errors import ProviderUnavailable
from tests.contract.dns_peers import (
    OPEN,
    REMOTE_PEERS,
    THROTTLING_PEERS,
    RemotePeer,
    ThrottlingPeer,
)
from tests.contract.test_dns_contract import ACME, ACME_LATER, GLOBEX, owned, record

pytestmark = pytest.mark.anyio


@pytest.fixture(params=REMOTE_PEERS)
async def peer(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RemotePeer]:
    """Both tenants' wishes collide in nothing but the zone; globex is there already."""
    async with OPEN[request.param](request, tmp_path) as opened:
        await opened.dns.ensure(record("globex"), GLOBEX)
        yield cast("RemotePeer", opened)


@pytest.mark.parametrize("peer", THROTTLING_PEERS, indirect=True)
async def test_who_is_told_to_come_back_later_is_told_when(peer: ThrottlingPeer) -> None:
    before = peer.world()
    for attempt in (peer.dns.ensure, peer.dns.absent):
        peer.throttle(retry_after_s=7)
        with pytest.raises(ProviderUnavailable) as caught:
            await attempt(record(), ACME)
        assert caught.value.retry_after_s == 7
    assert peer.world() == before
    await peer.another().ensure(record(), ACME)
    assert await peer.dns.find(record(), ACME)


async def test_a_lost_request_changes_nothing_and_may_be_repeated(peer: RemotePeer) -> None:
    before = peer.world()
    peer.lose_request()
    with pytest.raises(ProviderUnavailable):
        await peer.dns.ensure(record(), ACME)
    assert peer.world() == before
    await peer.another().ensure(record(), ACME)
    assert await peer.dns.find(record(), ACME)


async def test_a_record_whose_making_nobody_was_told_of_is_there_once(peer: RemotePeer) -> None:
    peer.lose_answer()
    with pytest.raises(ProviderUnavailable):
        await peer.dns.ensure(record(), ACME)
    before = peer.world()
    assert await peer.dns.find(record(), ACME)
    await peer.another().ensure(record(), ACME)
    assert peer.world() == before


async def test_what_nobody_was_told_of_can_be_taken_back(peer: RemotePeer) -> None:
    peer.lose_answer()
    with pytest.raises(ProviderUnavailable):
        await peer.dns.ensure(record(), ACME)
    peer.lose_answer()
    with pytest.raises(ProviderUnavailable):
        await peer.dns.absent(record(), ACME)
    before = peer.world()
    await peer.another().absent(record(), ACME)
    assert peer.world() == before
    assert await owned(peer.dns) == [OwnedRecord(record("globex"), GLOBEX)]


async def test_a_lost_request_to_take_away_leaves_the_record(peer: RemotePeer) -> None:
    await peer.dns.ensure(record(), ACME)
    before = peer.world()
    peer.lose_request()
    with pytest.raises(ProviderUnavailable):
        await peer.dns.absent(record(), ACME)
    assert peer.world() == before
    await peer.dns.absent(record(), ACME)
    assert await owned(peer.dns) == [OwnedRecord(record("globex"), GLOBEX)]


async def test_a_replacement_that_is_cut_short_is_whole_or_not_at_all(peer: RemotePeer) -> None:
    await peer.dns.ensure(record(), ACME)
    old, new = record(), record(value="192.0.2.99", ttl=60)
    for lose in (peer.lose_request, peer.lose_answer):
        lose()
        with pytest.raises(ProviderUnavailable):
            await peer.dns.ensure(new, ACME_LATER)
        assert [await peer.dns.find(one, ACME) for one in (old, new)].count(True) == 1
    await peer.dns.ensure(new, ACME_LATER)
    listed = [OwnedRecord(new, ACME_LATER), OwnedRecord(record("globex"), GLOBEX)]
    assert await owned(peer.dns) == listed
