"""Rollouts to an older revision, and tenants that stay where they are."""

from dataclasses import replace
from uuid import uuid4

import pytest
from sqlalchemy.engine import make_url

from controlplane.domain.naming import Mark
from controlplane.domain.rings import parse_rings
from controlplane.domain.rollouts import RolloutState
from controlplane.domain.tenants import frozen
from controlplane.errors import InvalidState, RolloutRefused
from controlplane.fleet import freezing, planning, requests
from controlplane.fleet.online import ByAlembic
from controlplane.fleet.upgrading import Outcome, Upgrader
from controlplane.fleet.ways import Compiled
from controlplane.provisioning.step import Target
from controlplane.provisioning.steps.repair import Upgrade
from controlplane.store import tenants
from controlplane.tenancy import template
from tests.integration.fleet.ground import ACTOR, ADDS, AFTER, BEFORE, NAMES, POLICY
from tests.integration.tenancy.templates import application, revision

pytestmark = pytest.mark.anyio

BACK = 'op.drop_index("ix_notes_title")\nop.drop_column("notes", "title")'
# Reads rows before it drops what they hold.
SLOWLY = f"op.get_bind().execute(sa.text('SELECT FROM notes')).all()\n{BACK}"
THERE, GONE = dict.fromkeys(NAMES, AFTER), dict.fromkeys(NAMES, BEFORE)


def two_ways(fleet, name, downgrade, more=""):
    """The newer template with a way back."""
    folder = fleet.folder / name
    if not folder.exists():
        application(folder)
        revision(folder, "own_0002", down="own_0001", upgrade=ADDS, downgrade=downgrade, more=more)
    return template.load(folder)


async def planned(fleet, of, to="own_0001", policy=POLICY, served=()):
    async with fleet.engine.connect() as conn:
        return await planning.plan(
            conn,
            template=of,
            policy=policy,
            owner=fleet.engine,
            installation=fleet.database.installation,
            app_login=make_url(fleet.database.app_url).username or "",
            to=to,
            served=served,
        )


async def begun(fleet, plan):
    async with fleet.engine.begin() as conn:
        return await requests.start(
            conn,
            revision=plan.revision,
            digest=plan.digest,
            policy=plan.policy,
            starts=plan.starts,
            actor=ACTOR,
        )


async def carried_out(fleet, plan, of):
    rollout = await begun(fleet, plan)
    await fleet.work(fleet.roller(of=of))
    return await fleet.view(rollout)


async def upgraded(fleet, of):
    await fleet.begin(of=of)
    await fleet.work(fleet.roller(of=of))
    assert fleet.revisions() == THERE


async def test_a_ring_goes_back_and_the_others_stay(fleet):
    both = two_ways(fleet, "both", BACK)
    await upgraded(fleet, both)
    ring = replace(POLICY, rings=parse_rings(["ours=list:acme,wayne"], rest=False))
    plan = await planned(fleet, both, policy=ring)
    assert (plan.revision, plan.ring_sizes, plan.at_revision) == (BEFORE, (2,), 0)
    (path,) = plan.paths
    assert path.lost == ("the column title of notes with what it holds",)
    assert [warning.rule for warning in plan.warnings] == ["served-unknown"]
    assert fleet.revisions() == THERE
    ended = await carried_out(fleet, plan, both)
    assert ended.state is RolloutState.SUCCEEDED
    assert fleet.revisions() == {**THERE, "acme": BEFORE, "wayne": BEFORE}
    # Who is there already, and who lies before it, is left alone.
    again = await planned(fleet, both, policy=ring)
    assert (again.targets, again.at_revision) == (0, 2)
    await fleet.sql("UPDATE public.tenants SET revision = 'core_0002' WHERE subdomain = 'stark'")
    without = await planned(fleet, both, to=BEFORE)
    assert (without.targets, without.at_revision, without.older) == (3, 2, 1)
    await fleet.sql("UPDATE public.tenants SET revision = :at WHERE subdomain = 'stark'", at=AFTER)
    # Of two in one chain the later one is meant: less is lost by it.
    assert (await planned(fleet, both, to="own_0001,own_0002")).revision == AFTER
    everybody = await planned(fleet, both, to=BEFORE)
    assert (everybody.targets, everybody.older) == (4, 0)
    assert (await carried_out(fleet, everybody, both)).state is RolloutState.SUCCEEDED
    assert fleet.revisions() == GONE
    await upgraded(fleet, both)


async def test_a_way_back_that_reads_rows_is_run_by_alembic(fleet):
    slowly = two_ways(fleet, "slowly", SLOWLY, more="online = True")
    both = two_ways(fleet, "both", BACK)
    await upgraded(fleet, both)
    plan = await planned(fleet, both)
    rollout = await begun(fleet, plan)
    for way, outcome in (
        (Compiled(slowly), Outcome.NEEDS_ONLINE),
        (ByAlembic(slowly), Outcome.DONE),
    ):
        upgrader = Upgrader(fleet.engine, fleet.database.installation, way)
        for tenant_id in fleet.tenants.values():
            assert await upgrader.one(rollout, tenant_id) is outcome
    assert fleet.revisions() == GONE


@pytest.mark.parametrize(
    ("downgrade", "to", "served", "reason"),
    [
        ("raise NotImplementedError('no')", "own_0001", (), "own_0002 has no downgrade: no."),
        (BACK, "own_0009", (), "no revision 'own_0009'"),
        (BACK, ",", (), "names no revision"),
        (BACK, "core_0003,own_0001,", (AFTER,), f"serve {AFTER} .* tenant at {BEFORE}"),
        ('op.drop_column("notes", "titel")', "own_0001", (), '"titel" .* does not exist'),
    ],
)
async def test_a_way_back_that_there_is_not_is_refused(fleet, downgrade, to, served, reason):
    of = two_ways(fleet, f"no-{len(downgrade)}", downgrade)
    with pytest.raises(RolloutRefused, match=reason):
        await planned(fleet, of, to=to, served=served)
    assert fleet.revisions() == GONE


async def freeze(fleet, name, reason="their auditor asked"):
    async with fleet.engine.begin() as conn:
        await freezing.freeze(conn, fleet.tenants[name], reason, actor=ACTOR)


async def unfreeze(fleet, name):
    async with fleet.engine.begin() as conn:
        await freezing.unfreeze(conn, fleet.tenants[name], actor=ACTOR)
        return await tenants.get(conn, fleet.tenants[name])


async def test_a_frozen_tenant_is_skipped_and_said_so_until_it_is_no_more(fleet):
    await freeze(fleet, "acme")
    rollout = await fleet.begin()
    await fleet.work()
    assert (await fleet.view(rollout)).state is RolloutState.SUCCEEDED
    assert fleet.revisions() == {**THERE, "acme": BEFORE}
    error, _ = await fleet.error(rollout, "acme")
    assert error["code"] == "skipped"
    assert error["detail"].endswith("frozen at its revision: their auditor asked")
    thawed = await unfreeze(fleet, "acme")
    assert not frozen(thawed.conditions)
    assert (await unfreeze(fleet, "acme")).version == thawed.version
    await fleet.begin()
    await fleet.work()
    assert fleet.revisions() == THERE


async def test_who_is_frozen_at_what_the_template_has_forgotten_keeps_nobody_from_going_on(fleet):
    both = two_ways(fleet, "both", BACK)
    at = "UPDATE public.tenants SET revision = :at WHERE subdomain = 'acme'"
    await fleet.sql(at, at="core_0003,own_0000")
    with pytest.raises(RolloutRefused, match="does not lead on"):
        await planned(fleet, both, to=None)
    await freeze(fleet, "acme")
    plan = await planned(fleet, both, to=None)
    assert [(path.revision, path.tenants) for path in plan.paths] == [(BEFORE, len(NAMES) - 1)]
    await unfreeze(fleet, "acme")


async def test_a_repair_leaves_alone_who_was_frozen_after_it_began(fleet):
    async with fleet.engine.connect() as conn:
        begun = await tenants.get(conn, fleet.tenants["acme"])
    await freeze(fleet, "acme")
    target = Target(begun, Mark(fleet.database.installation, begun.id, uuid4()), {}, None)
    async with fleet.engine.begin() as tx:
        assert await Upgrade(fleet.new).ensure(tx, target) == {"revision": BEFORE}
    await unfreeze(fleet, "acme")
    assert fleet.revision("acme") == BEFORE
    async with fleet.engine.begin() as tx:
        assert await Upgrade(fleet.new).ensure(tx, target) == {"revision": AFTER}
    assert fleet.revision("acme") == AFTER


async def test_a_tenant_without_a_schema_cannot_be_frozen(fleet):
    await fleet.sql("UPDATE public.tenants SET revision = NULL WHERE subdomain = 'acme'")
    with pytest.raises(InvalidState):
        await freeze(fleet, "acme")
