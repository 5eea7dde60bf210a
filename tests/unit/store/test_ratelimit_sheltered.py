"""Shared counts that fail: nobody is let in for that, nobody refused, and nobody kept waiting."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from structlog.testing import capture_logs

from controlplane.domain.ratelimit import Quota, Verdict
from controlplane.errors import ProviderUnavailable
from controlplane.store.ratelimit_local import LocalRateLimits
from controlplane.store.ratelimit_sheltered import ShelteredRateLimits

pytestmark = pytest.mark.anyio

ACME, GLOBEX = Quota("tenant:acme", 3), Quota("tenant:globex", 3)
FOR_EVER_S = 1_000_000.0


class Shared(LocalRateLimits):
    """Counts that can be away, or silent."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = 0
        self.given_up = 0

    async def hit(self, quotas: Sequence[Quota]) -> Verdict:
        self.asked += 1
        try:
            await self.answers.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        if self.away:
            raise ProviderUnavailable("it is away")
        return await super().hit(quotas)


@pytest.fixture
def shared() -> Shared:
    return Shared()


@pytest.fixture
async def sheltered(shared: Shared) -> AsyncIterator[ShelteredRateLimits]:
    """Tries again with every request."""
    made = ShelteredRateLimits(shared, patience_s=60, retry_s=0)
    yield made
    await made.close()


async def test_what_is_shared_is_counted_there(
    shared: Shared, sheltered: ShelteredRateLimits
) -> None:
    await shared.hit([ACME])
    verdicts = [await sheltered.hit([ACME]) for _ in range(3)]
    assert [verdict.admitted for verdict in verdicts] == [True, True, False]
    assert all(verdict.shared for verdict in verdicts)


async def test_losing_it_gives_nobody_a_new_quota(
    shared: Shared, sheltered: ShelteredRateLimits
) -> None:
    await sheltered.hit([ACME])
    shared.away = True
    verdicts = [await sheltered.hit([ACME]) for _ in range(3)]
    assert [(verdict.admitted, verdict.shared) for verdict in verdicts] == [
        (True, False),
        (True, False),
        (False, False),
    ]
    assert (await sheltered.hit([GLOBEX])).admitted


async def test_it_is_used_again_when_it_is_back(
    shared: Shared, sheltered: ShelteredRateLimits
) -> None:
    shared.away = True
    assert not (await sheltered.hit([ACME])).shared
    shared.away = False
    assert (await sheltered.hit([ACME])).shared


async def test_while_it_is_lost_only_some_try_again(shared: Shared) -> None:
    sheltered = ShelteredRateLimits(shared, retry_s=FOR_EVER_S)
    shared.away = True
    for _ in range(5):
        assert not (await sheltered.hit([GLOBEX])).shared
    assert shared.asked == 1
    await sheltered.close()


async def test_who_is_silent_holds_nobody_up_and_is_let_go(shared: Shared) -> None:
    sheltered = ShelteredRateLimits(shared, patience_s=0.01, retry_s=0)
    shared.answers.clear()
    verdicts = [await sheltered.hit([ACME]) for _ in range(4)]
    assert [verdict.admitted for verdict in verdicts] == [True, True, True, False]
    await sheltered.close()
    assert shared.given_up == 4


async def test_a_request_that_is_given_up_leaves_nothing_behind(shared: Shared) -> None:
    sheltered = ShelteredRateLimits(shared, patience_s=60)
    shared.answers.clear()
    request = asyncio.create_task(sheltered.hit([ACME]))
    while not shared.asked:  # noqa: ASYNC110  one turn of the loop
        await asyncio.sleep(0)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    await sheltered.close()
    assert shared.given_up == 1


async def test_loss_and_return_are_told_of_once(
    shared: Shared, sheltered: ShelteredRateLimits
) -> None:
    with capture_logs() as logs:
        for away in (False, True, True, False, False):
            shared.away = away
            await sheltered.hit([Quota("k", 9)])
    assert [line["event"] for line in logs] == ["rate_limits_lost", "rate_limits_found"]
    assert logs[0]["error"] == "it is away"


async def test_a_quota_that_has_refused_is_not_asked_about_before_its_time(
    shared: Shared, sheltered: ShelteredRateLimits
) -> None:
    full = Quota("tenant:full", 1)
    await sheltered.hit([full])
    refused = await sheltered.hit([full, GLOBEX])
    asked = shared.asked
    again = [await sheltered.hit([ACME, full]) for _ in range(5)]
    assert shared.asked == asked
    assert {verdict.admitted for verdict in again} == {False}
    assert 0 < again[0].retry_after_s <= refused.retry_after_s
    assert again[0].standings[0] is None
    assert (await sheltered.hit([ACME])).admitted


async def test_a_higher_limit_counts_at_once(sheltered: ShelteredRateLimits) -> None:
    for _ in range(4):
        await sheltered.hit([ACME])
    assert not (await sheltered.hit([ACME])).admitted
    assert (await sheltered.hit([Quota(ACME.key, 5)])).admitted


async def test_many_refused_quotas_take_no_memory_for_ever(shared: Shared) -> None:
    sheltered = ShelteredRateLimits(shared, remembered=10)
    for number in range(25):
        quota = Quota(f"k{number}", 1)
        await sheltered.hit([quota])
        assert not (await sheltered.hit([quota])).admitted
    assert sheltered.remembers <= 10
    await sheltered.close()


async def test_counters_that_are_over_are_forgotten() -> None:
    now_s = 0.0
    counts = LocalRateLimits(clock=lambda: now_s, crowded=10)
    for number in range(200):
        now_s = number * 10.0
        await counts.hit([Quota(f"k{number}", 1)])
    assert len(counts) < 20
    assert not (await counts.hit([Quota("k199", 1)])).admitted
