import asyncio
from uuid import uuid4

import pytest

from controlplane.errors import TenantBusy
from controlplane.routing import Bulkhead, SyncBulkhead

pytestmark = pytest.mark.anyio

ACME, GLOBEX = uuid4(), uuid4()


async def _waiting(bulkhead, entered, *, until):
    """Tasks that enter one after the other and stay until told."""
    leave = asyncio.Event()

    async def stay(number):
        async with bulkhead.slot(ACME):
            entered.append(number)
            await leave.wait()

    tasks = [asyncio.create_task(stay(number)) for number in range(until)]
    await asyncio.sleep(0)
    return tasks, leave


async def test_who_is_above_the_share_waits_his_turn_and_nobody_else_does():
    bulkhead = Bulkhead(2, wait_s=60)
    entered: list[int] = []
    tasks, leave = await _waiting(bulkhead, entered, until=4)
    assert entered == [0, 1]
    async with bulkhead.slot(GLOBEX):
        pass
    leave.set()
    await asyncio.gather(*tasks)
    assert entered == [0, 1, 2, 3]


async def test_a_wait_and_a_line_have_an_end():
    bulkhead = Bulkhead(1, waiting=1, wait_s=0)
    async with bulkhead.slot(ACME):
        with pytest.raises(TenantBusy) as refused:
            async with bulkhead.slot(ACME):
                pytest.fail("entered")
    assert (refused.value.status, refused.value.code) == (503, "tenant_busy")
    assert refused.value.retry_after == 1
    long = Bulkhead(1, waiting=1, wait_s=60)
    tasks, leave = await _waiting(long, [], until=2)
    with pytest.raises(TenantBusy):
        async with long.slot(ACME):
            pytest.fail("entered")
    leave.set()
    await asyncio.gather(*tasks)


async def test_who_gives_up_or_fails_gives_his_place_back():
    bulkhead = Bulkhead(1, wait_s=60)
    entered: list[int] = []
    tasks, leave = await _waiting(bulkhead, entered, until=3)
    tasks[1].cancel()
    tasks[0].cancel()
    await asyncio.gather(*tasks[:2], return_exceptions=True)
    leave.set()
    await tasks[2]
    assert entered == [0, 2]
    with pytest.raises(RuntimeError):
        async with bulkhead.slot(ACME):
            raise RuntimeError
    async with bulkhead.slot(ACME):
        pass
    assert not bulkhead._lanes  # noqa: SLF001  nothing may be kept of tenants that are gone


@pytest.mark.parametrize("kind", [Bulkhead, SyncBulkhead])
def test_a_share_of_nothing_is_refused(kind):
    for wrong in ({"limit": 0}, {"limit": 1, "waiting": -1}, {"limit": 1, "wait_s": -1}):
        with pytest.raises(ValueError, match="share"):
            kind(**wrong)
