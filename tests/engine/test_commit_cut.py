"""The connection is cut during COMMIT: it never arrived, or it did and the answer was lost.

The worker cannot tell the one from the other, so it may conclude nothing from the error: whoever
claims the operation next reads in the journal how far it came.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from uuid import UUID

import pytest

from controlplane.store.operations import OperationView
from tests.database import Database
from tests.engine.faults import Failure
from tests.engine.ground import Ground
from tests.engine.lab import RESTING, Lab
from tests.engine.plans_under_test import SCENARIOS
from tests.engine.proxied import COMMIT, proxied_lab, through
from tests.engine.world import assert_world
from tests.proxy import Cut, Lose, Proxy
from tests.web.calls import TENANTS, Site, new_tenant, open_site

pytestmark = [pytest.mark.anyio]

LOSE = pytest.mark.parametrize("lose", Lose, ids=lambda lose: f"lost-{lose}")


@pytest.fixture
async def torn(ground: Ground, tmp_path: Path) -> AsyncIterator[tuple[Lab, Proxy]]:
    async with proxied_lab(ground, tmp_path) as (lab, proxy):
        yield lab, proxy


async def life(lab: Lab, proxy: Proxy, *, nth: int, lose: Lose) -> Cut:
    """One claim and drive whose `nth` COMMIT is cut; the claim's own is the first."""
    await lab.expire()
    cut = proxy.cut = Cut(COMMIT, nth=nth, lose=lose)
    try:
        await lab.drive_once()
    finally:
        proxy.cut = None
    return cut


Standing = tuple[str, tuple[str, ...], str | None]


async def standing(lab: Lab, operation: OperationView) -> Standing:
    """How far the journal says the operation came."""
    found = await lab.view(operation.id)
    steps = tuple(str(step.state) for step in found.steps)
    return str(found.state), steps, (found.error or {}).get("code")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
@LOSE
async def test_a_plan_whose_every_commit_is_cut_ends_as_if_none_had_been(torn, scenario, lose):
    """Every life of the worker ends at a commit: the first that it makes or, where that one leads
    nowhere new, a later one."""
    lab, proxy = torn
    tenant_id = await scenario.prepare(lab)
    operation = await scenario.ask(lab, tenant_id)
    assert (await life(lab, proxy, nth=1, lose=lose)).struck
    struck, nth = 0, 2
    while (before := await standing(lab, operation))[0] not in RESTING:
        assert struck < 60
        struck += (await life(lab, proxy, nth=nth, lose=lose)).struck
        nth = nth + 1 if await standing(lab, operation) == before else 2

    assert (await lab.view(operation.id)).state == "succeeded"
    assert struck > len(scenario.plan.steps), "each step commits, and so does the end"
    while await lab.mailroom().deliver_one():
        pass
    world = await assert_world(lab)
    assert world.tenants[operation.tenant_id].state == scenario.succeeded
    assert len(lab.sender.sent) == scenario.mails


Ask = Callable[[Lab, str], Awaitable[OperationView]]


async def provision(lab: Lab, name: str) -> OperationView:
    return await lab.create(name)


async def deprovision(lab: Lab, name: str) -> OperationView:
    return await lab.delete(await lab.active(name))


async def state_of(lab: Lab, tenant_id: UUID) -> str:
    (row,) = await lab.sql("SELECT state FROM public.tenants WHERE id = :id", id=tenant_id)
    return str(row.state)


@pytest.mark.parametrize(
    ("ask", "failing", "ends"),
    [
        # Until its last step it makes the commits of one that succeeds.
        pytest.param(provision, "verify", "failed", id="unwinding"),
        pytest.param(deprovision, None, "deleted", id="deprovision"),
    ],
)
async def test_a_single_cut_leaves_the_journal_where_the_commits_before_it_led(
    torn, ask, failing, ends
):
    lab, proxy = torn
    healthy = dict(lab.steps)
    stood: dict[Lose, list[Standing]] = {lose: [] for lose in Lose}
    nth, struck = 0, True
    while struck:
        nth += 1
        for lose in Lose:
            lab.steps = healthy
            operation = await ask(lab, f"acme-{nth}-{lose}")
            lab.steps = Failure(failing, "ensure").wrap(healthy) if failing else healthy
            struck = (await life(lab, proxy, nth=nth, lose=lose)).struck
            stood[lose].append(await standing(lab, operation))
            ended = await lab.settle(operation)
            assert ended.state == ("failed" if failing else "succeeded")
            assert await state_of(lab, operation.tenant_id) == ends
        await assert_world(lab)

    # A commit that never arrived is one fewer than the same one whose answer was lost.
    assert stood[Lose.REQUEST][1:] == stood[Lose.ANSWER][:-1]
    assert len(set(stood[Lose.ANSWER])) == nth - 1, "each commit leads on; the last run was whole"


@pytest.fixture
async def site(database: Database) -> AsyncIterator[tuple[Site, Proxy]]:
    async with (
        Proxy.before(database.owner_url) as proxy,
        open_site(through(proxy, database)) as opened,
    ):
        yield opened, proxy


@pytest.mark.database_near
@LOSE
async def test_a_request_whose_commit_is_cut_is_repeated_and_done_once(site, lose):
    opened, proxy = site
    accepted: list[bool] = []
    struck = True
    async with opened.client() as client:
        while struck:
            headers = {"idempotency-key": f"key-{len(accepted)}"}
            body, before = new_tenant(), await opened.counts()
            cut = proxy.cut = Cut(COMMIT, nth=len(accepted) + 1, lose=lose)
            first = await client.post(TENANTS, json=body, headers=headers)
            proxy.cut, struck = None, cut.struck
            assert first.status_code == (503 if struck else 202)
            accepted.append(await grown(opened, before))

            again = [await client.post(TENANTS, json=body, headers=headers) for _ in range(2)]
            assert [answer.status_code for answer in again] == [202, 202]
            assert again[0].json() == again[1].json()
            assert await grown(opened, before)
    # The commit of looking at the token, the one that accepts, and none.
    assert accepted == [False, lose is Lose.ANSWER, True]


async def grown(site: Site, before: dict[str, int]) -> bool:
    """Whether there is one tenant more with its operation and key; never a part of them."""
    after = await site.counts()
    more = {after[name] - before[name] for name in ("tenants", "operations", "idempotency_keys")}
    assert more in ({0}, {1})
    return more == {1}
