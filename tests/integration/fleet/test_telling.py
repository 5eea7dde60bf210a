"""What a rollout tells of its pace and of its failures."""

import pytest

from controlplane.domain.rings import parse_rings
from controlplane.store import rollout_progress
from tests.integration.fleet.ground import NAMES

pytestmark = pytest.mark.anyio


async def test_of_rows_that_do_not_agree_the_rule_is_named_and_no_value(fleet):
    unique = fleet.templates(
        "unique", 'op.create_index("uq_notes_body", "notes", ["body"], unique=True)\n'
    )
    with fleet.owned("acme") as conn:
        conn.execute("INSERT INTO notes (id, body, tenant_id) SELECT 2, body, tenant_id FROM notes")
    rollout = await fleet.begin(of=unique, rings=parse_rings(["canary=list:acme"]))
    await fleet.work(fleet.roller(of=unique))
    error, _ = await fleet.error(rollout, "acme")
    assert error["detail"].endswith("(UniqueViolation, 23505, uq_notes_body of notes).")
    assert await fleet.states(rollout) == {**dict.fromkeys(NAMES, "pending"), "acme": "failed"}


async def test_the_soaks_of_rings_to_come_are_counted_into_the_time_that_is_left(fleet):
    early = ["canary=list:acme,globex,hooli,initech,stark"]
    rollout = await fleet.begin(rings=parse_rings(early), soak_s=600)
    await fleet.sql(
        "UPDATE public.rollout_targets SET state = 'done', finished_at = clock_timestamp()"
        " WHERE tenant_id <> :last",
        last=fleet.tenants["wayne"],
    )
    async with fleet.engine.connect() as conn:
        told = await rollout_progress.of(conn, rollout)
    assert told.soaks_for_s == 0
    assert told.eta_s == pytest.approx(600 + 1 / told.per_s)


async def test_a_rate_is_told_once_enough_have_ended_and_counted_from_the_first_of_them(fleet):
    rollout = await fleet.begin()

    async def ended(number, *, ago_s):
        await fleet.sql(
            "UPDATE public.rollout_targets SET state = 'done', finished_at = clock_timestamp()"
            " - make_interval(secs => :ago) WHERE tenant_id IN (SELECT tenant_id"
            " FROM public.rollout_targets WHERE state = 'pending' LIMIT :number)",
            ago=ago_s,
            number=number,
        )
        async with fleet.engine.connect() as conn:
            return await rollout_progress.of(conn, rollout)

    few = await ended(4, ago_s=0)
    assert (few.per_s, few.eta_s) == (0.0, None)
    enough = await ended(1, ago_s=20)
    assert 5 / 50 < enough.per_s <= 5 / 20
    assert enough.eta_s == pytest.approx(1 / enough.per_s)
    # What ended long before says nothing of now.
    await fleet.sql(
        "UPDATE public.rollout_targets SET finished_at = finished_at - interval '1 hour'"
        " WHERE state = 'done'"
    )
    assert (await ended(1, ago_s=0)).per_s == 0.0
