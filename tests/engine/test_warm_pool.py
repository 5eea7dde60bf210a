"""Schemas made ahead: kept at size, handed out once, never stale, and never left to nobody."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from sqlalchemy.exc import IntegrityError

from controlplane.cli.root import run
from controlplane.domain.drift import Kind
from controlplane.domain.naming import schema_name
from controlplane.domain.rings import parse_rings
from controlplane.domain.rollouts import Policy
from controlplane.errors import SubdomainTaken
from controlplane.provisioning import requests
from controlplane.provisioning.plans import PROVISION
from controlplane.store import rollouts, warm_schemas
from controlplane.store.operations import OperationView
from tests.engine import failpoints
from tests.engine.ground import Ground
from tests.engine.lab import ACTOR, Lab, environment
from tests.engine.lives import at, open_trial
from tests.engine.plans_under_test import Scenario, found
from tests.engine.pools import emptied, filled, hurt, oid, pool_of, ready, settled
from tests.engine.world import assert_world

pytestmark = pytest.mark.anyio


@pytest.fixture
async def lab(ground: Ground) -> AsyncIterator[Lab]:
    """With the bystander 'globex', and an empty pool."""
    async with ground.anew():
        yield ground.lab


async def test_a_schema_made_ahead_becomes_the_tenants(lab):
    (made,) = await filled(lab, 1)
    await assert_world(lab)
    before = await oid(lab, made)

    operation = await lab.create("acme", warm=True)
    assert operation.tenant_id == made
    await assert_world(lab)
    ended = await lab.settle(operation)

    assert ended.state == "succeeded"
    world = await assert_world(lab)
    assert (world.warm, await oid(lab, made)) == (set(), before)


async def test_many_at_once_get_a_schema_each(lab):
    made = await filled(lab, 2)

    accepted = await asyncio.gather(*(lab.create(f"acme-{n}", warm=True) for n in range(4)))

    ids = {operation.tenant_id for operation in accepted}
    assert len(ids) == 4
    assert made < ids
    assert await ready(lab) == set()


async def test_nobody_waits_for_one_that_another_is_taking_and_who_dies_takes_none(lab):
    made = await filled(lab, 2)
    control = lab.parts.control
    async with control.connect() as one, control.connect() as two, control.connect() as three:
        for conn in (two, three):
            await conn.exec_driver_sql("SET LOCAL lock_timeout = '5s'")
        taken = [await warm_schemas.claim(conn, lab.recipe) for conn in (one, two, three)]
    assert taken[2] is None
    assert {claimed.tenant_id for claimed in taken if claimed} == made
    assert await ready(lab) == made


async def test_a_request_that_is_refused_takes_nothing(lab):
    made = await filled(lab, 1)
    with pytest.raises(SubdomainTaken):
        await lab.create("globex", warm=True)
    assert await ready(lab) == made


async def test_two_workers_at_once_fill_it_to_its_size_and_no_further(lab):
    await asyncio.gather(*(settled(pool_of(lab, 2)) for _ in range(2)))
    assert len(await ready(lab)) == 2

    await emptied(lab)

    world = await assert_world(lab)
    assert world.warm == set()
    assert world.schemas == world.roles == {schema_name(tenant) for tenant in world.tenants}


async def test_what_another_recipe_made_is_not_handed_out_and_removed_in_time(lab):
    (other,) = await filled(lab, 1, recipe="of another template")
    assert (await lab.create("acme", warm=True)).tenant_id != other

    pool = pool_of(lab, 1)
    await settled(pool)
    assert other in await ready(lab)
    await lab.sql("UPDATE public.warm_schemas SET made_at = made_at - interval '10 min'")
    await settled(pool)
    assert other in await ready(lab)
    await begin_rollout(lab)
    try:
        await settled(pool)
    finally:
        await lab.sql("DELETE FROM public.rollouts")

    assert len(await ready(lab)) == 1
    assert await oid(lab, other) is None


async def begin_rollout(lab: Lab) -> None:
    async with lab.parts.owner.begin() as conn:
        await rollouts.add(
            conn,
            rollout_id=uuid4(),
            revision="any",
            digest=lab.parts.template.digest,
            policy=Policy(parse_rings([])),
            targets={},
            requested_by=None,
        )


async def test_one_that_somebody_changed_is_replaced(lab):
    (changed,) = await filled(lab, 1)
    await hurt(lab, changed)

    (another,) = await filled(lab, 1)

    assert another != changed
    assert await oid(lab, changed) is None
    await assert_world(lab)


async def test_one_that_is_changed_after_it_was_handed_out_is_made_anew(lab):
    (made,) = await filled(lab, 1)
    operation = await lab.create("acme", warm=True)
    await hurt(lab, made)
    before = await oid(lab, made)

    assert (await lab.settle(operation)).state == "succeeded"

    assert await oid(lab, made) not in {before, None}


async def test_a_worker_of_another_release_makes_it_anew(lab):
    (made,) = await filled(lab, 1)
    operation = await lab.create("acme", warm=True)
    before = await oid(lab, made)
    lab.steps = {**lab.steps, "schema": replace(lab.steps["schema"], recipe="newer")}

    assert (await lab.settle(operation)).state == "succeeded"

    assert await oid(lab, made) not in {before, None}


async def test_a_cancel_before_any_worker_leaves_nothing(lab):
    (made,) = await filled(lab, 1)
    operation = await lab.create("acme", warm=True)
    async with lab.parts.control.begin() as conn:
        await requests.cancel(conn, operation.id, actor=ACTOR)

    assert (await lab.settle(operation)).state == "cancelled"

    world = await assert_world(lab)
    assert (await oid(lab, made), world.warm) == (None, set())


async def test_nobody_takes_the_pool_for_orphans_but_what_is_in_no_pool(lab):
    (made,) = await filled(lab, 1)
    assert await found(lab) == []

    await lab.sql("DELETE FROM public.warm_schemas")
    orphans = await found(lab)
    await lab.sql(
        "INSERT INTO public.warm_schemas (tenant_id, recipe, revision, stamp)"
        " VALUES (:id, '', '', '')",
        id=made,
    )

    assert {(f.kind, f.tenant_id) for f in orphans} == {
        (Kind.SCHEMA_WITHOUT_TENANT, made),
        (Kind.ROLE_WITHOUT_TENANT, made),
    }


async def test_a_schema_that_cannot_be_entered_is_not_there(lab):
    await lab.sql("ALTER TABLE public.warm_schemas ADD CONSTRAINT refused CHECK (stamp = '')")
    try:
        with pytest.raises(IntegrityError):
            await pool_of(lab, 1).turn()
    finally:
        await lab.sql("ALTER TABLE public.warm_schemas DROP CONSTRAINT refused")

    world = await assert_world(lab)
    assert world.schemas == world.roles == {schema_name(tenant) for tenant in world.tenants}


async def _one_ready(lab: Lab) -> None:
    await filled(lab, 1)


async def _create(lab: Lab, _tenant_id: UUID | None) -> OperationView:
    return await lab.create("acme", warm=True)


WARM = Scenario(PROVISION, _one_ready, _create, "active", "failed", 2, name="provision-warm")


@pytest.mark.parametrize("undoing", [False, True], ids=["forward", "undoing"])
async def test_a_worker_that_dies_anywhere_leaves_the_rest_to_another(ground, undoing, chance):
    places = failpoints.unwinding(PROVISION) if undoing else failpoints.forward(PROVISION)
    # From the second step on it goes as without a pool: one place of these, drawn by the seed.
    first = [place for place in places if ":schema:" in place]
    rest = chance.choice([place for place in places if place not in first])
    async with ground.anew(), open_trial(ground, WARM, undoing=undoing) as trial:
        for place in [*first, rest]:
            operation = await trial.begin()
            assert (await trial.live(at(place))).died, f"{place} was not reached"
            await trial.end(operation)


async def test_a_worker_fills_it_again_as_soon_as_it_hears_that_one_went(lab):
    pool, stopping = replace(pool_of(lab, 1), calm_s=0.0), asyncio.Event()
    task = asyncio.create_task(pool.run(stopping))
    try:
        (first,) = await until_ready(lab)
        assert (await lab.create("acme", warm=True)).tenant_id == first
        pool.wake.set()
        assert await until_ready(lab) != {first}
    finally:
        stopping.set()
        await task


async def until_ready(lab: Lab) -> set[UUID]:
    async with asyncio.timeout(60):
        while not (made := await ready(lab)):  # noqa: ASYNC110  PostgreSQL tells nobody
            await asyncio.sleep(0.01)
    return made


async def test_how_it_does_is_told(lab, tmp_path, monkeypatch, capsys):
    told = environment(lab.database, tmp_path, CONTROLPLANE_WARM_POOL_SIZE="3")
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    await filled(lab, 1)
    await settled(pool_of(lab, 2, "of another template"))
    for name in ("acme", "hooli"):
        await lab.create(name, warm=True)

    capsys.readouterr()
    assert await asyncio.to_thread(run, ["pool", "--output", "json"]) == 0
    counted = json.loads(capsys.readouterr().out)
    assert await asyncio.to_thread(run, ["pool"]) == 0

    assert counted == {"wanted": 3, "ready": 0, "other": 2, "going": 0, "hits": 1, "misses": 1}
    assert capsys.readouterr().out.splitlines()[-1] == "Last hour  1 of 2 tenants (50 %)"
