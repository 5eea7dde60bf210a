"""Revisions that read rows: upgraded by a process of its own, in one transaction each."""

import asyncio

import pytest

from controlplane.domain.rollouts import Budget, RolloutState
from tests.integration.fleet.ground import ADDS, AFTER, BEFORE, NAMES

pytestmark = pytest.mark.anyio

# Dies once, where it is told to; fails for whoever has a note that says so.
BACKFILL = (
    ADDS
    + """
import os, pathlib, signal
order = pathlib.Path(__file__).with_name("die")
notes = sa.table("notes", sa.column("id"), sa.column("body"), sa.column("title"))
bind = op.get_bind()
for row in bind.execute(sa.select(notes.c.id, notes.c.body)).all():
    if row.body == "hopeless":
        raise AssertionError("a tenant's data")
    if row.body == "deadly" and order.exists():
        order.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    bind.execute(notes.update().where(notes.c.id == row.id).values(title=row.body[::-1]))
"""
)


def _title(fleet, name):
    with fleet.owned(name) as conn:
        return conn.execute("SELECT title FROM notes").fetchone()[0]


async def test_a_backfill_reaches_every_tenant_though_one_fails_and_its_process_dies(fleet):
    online = fleet.templates("online", BACKFILL, more="online = True")
    await asyncio.to_thread((online.application / "versions" / "die").touch)
    for name, body in {"hooli": "hopeless", "stark": "deadly"}.items():
        with fleet.owned(name) as conn:
            conn.execute("UPDATE notes SET body = %s", [body])
    rollout = await fleet.begin(of=online, budget=Budget(count=1))
    roller = fleet.roller(of=online)
    try:
        while (await fleet.view(rollout)).state is RolloutState.RUNNING:
            await fleet.work(roller)
    finally:
        await asyncio.to_thread(roller.online.close)
    assert (await fleet.view(rollout)).state is RolloutState.INCOMPLETE
    assert await fleet.states(rollout) == {**dict.fromkeys(NAMES, "done"), "hooli": "failed"}
    assert fleet.revisions() == {**dict.fromkeys(NAMES, AFTER), "hooli": BEFORE}
    assert (_title(fleet, "acme"), _title(fleet, "stark")) == ("stressed", "yldaed")
    error, _ = await fleet.error(rollout, "hooli")
    # What a revision's Python says may be a tenant's data.
    assert error == {"code": "revision_failed", "detail": "A revision raised AssertionError."}
    assert (await fleet.error(rollout, "stark"))[1] > 1
