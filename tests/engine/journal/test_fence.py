"""A fence: whom it keeps out, whom it lets pass, and what it tells."""

from dataclasses import replace

import pytest
from sqlalchemy.exc import OperationalError

from controlplane.errors import LeaseLost
from controlplane.provisioning import journal
from tests.engine.journal.rows import claimed, sql

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.usefixtures("bystander")
async def test_an_open_fence_keeps_a_thief_out_and_any_epoch_but_ours_fails(owner, held, exclusive):
    await sql(
        owner,
        "UPDATE public.operations SET lease_expires_at = now() - interval '1 hour', run_at = now()"
        " WHERE id = :id",
        id=held.id,
    )
    async with owner.begin() as conn:
        await journal.fence(conn, held, exclusive=exclusive)
        assert await claimed(owner) == []
        for epoch in (held.epoch - 1, held.epoch + 1):
            with pytest.raises(LeaseLost, match=str(held.id)):
                await journal.fence(conn, replace(held, epoch=epoch), exclusive=exclusive)
    assert [o.id for o in await claimed(owner)] == [held.id]


_BEAT = "SELECT 1 FROM public.operations WHERE id = :id FOR NO KEY UPDATE NOWAIT"


async def test_heartbeat_and_cancel_pass_an_open_fence_but_not_the_pivots(owner, held):
    async with owner.begin() as conn:
        await journal.fence(conn, held, exclusive=False)
        assert await sql(owner, _BEAT, id=held.id)
    async with owner.begin() as conn:
        await journal.fence(conn, held, exclusive=True)
        with pytest.raises(OperationalError, match="could not obtain lock"):
            await sql(owner, _BEAT, id=held.id)


@pytest.mark.parametrize("exclusive", [False, True])
async def test_two_fences_share_the_row_unless_one_is_the_pivots(owner, held, exclusive):
    share = "SELECT 1 FROM public.operations WHERE id = :id FOR SHARE NOWAIT"
    async with owner.begin() as conn:
        await journal.fence(conn, held, exclusive=exclusive)
        if exclusive:
            with pytest.raises(OperationalError, match="could not obtain lock"):
                await sql(owner, share, id=held.id)
        else:
            assert await sql(owner, share, id=held.id)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ("cancel_requested_at = NULL", (False, False)),
        ("cancel_requested_at = now()", (True, False)),
        ("deadline_at = clock_timestamp()", (False, True)),
    ],
)
@pytest.mark.usefixtures("bystander")
async def test_a_fence_tells_what_has_come_up_since_the_claim(owner, held, changes, expected):
    async with owner.begin() as conn:
        await sql(conn, "SELECT now()")
        change = f"UPDATE public.operations SET {changes} WHERE id = :id"  # noqa: S608  a literal above
        await sql(owner, change, id=held.id)
        notice = await journal.fence(conn, held, exclusive=False)
    assert (notice.cancel, notice.overdue) == expected
