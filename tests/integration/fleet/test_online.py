"""Revisions that read rows: upgraded by a process of its own, in one transaction each."""

import asyncio

import pytest

from controlplane.domain.rollouts import Ask, Budget, RolloutState
from controlplane.fleet.online import ByAlembic
from controlplane.fleet.upgrading import Outcome, Upgrader
from controlplane.fleet.ways import Compiled
from controlplane.tenancy import lint, template
from tests.integration.fleet.ground import ADDS, AFTER, BEFORE, NAMES
from tests.integration.tenancy.templates import application, revision

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


# Two notes at a time; each batch signs the notes that it has gone through. Dies once, where it is told to.
BATCHES = """
import os, pathlib, signal
online = True
notes = sa.table("notes", sa.column("id"), sa.column("body"), sa.column("title"))


def batch(after):
    bind, order = op.get_bind(), pathlib.Path(__file__).with_name("die")
    rows = bind.execute(sa.select(notes).where(notes.c.id > (after or 0)).order_by("id").limit(2)).all()
    for row in rows:
        signed = (row.title or "") + row.body
        bind.execute(notes.update().where(notes.c.id == row.id).values(title=signed))
    if after == 2 and order.exists():
        order.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return rows[-1].id if rows else None
"""
BATCHES_IN_SQL = '''
online = True
batch = """
WITH few AS (SELECT id FROM notes WHERE id > coalesce(CAST(:after AS integer), 0) ORDER BY id LIMIT 2),
done AS (UPDATE notes SET title = coalesce(title, '') || body WHERE id IN (SELECT id FROM few))
SELECT max(id) FROM few
"""
'''
LAST = "core_0003,own_0003"


def batched(fleet, name, more):
    """The newer template with a revision behind it that goes in batches."""
    folder = fleet.folder / name
    application(folder)
    revision(folder, "own_0002", down="own_0001", upgrade=ADDS, downgrade=DROPS)
    revision(folder, "own_0003", down="own_0002", upgrade="pass", downgrade=NOTHING, more=more)
    return template.load(folder)


DROPS = 'op.drop_index("ix_notes_title")\nop.drop_column("notes", "title")'
NOTHING = '"""The titles stay."""\nop.get_bind()'


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


def _titles(fleet, name):
    with fleet.owned(name) as conn:
        return [title for (title,) in conn.execute("SELECT title FROM notes ORDER BY id")]


def _fill(fleet):
    for name in NAMES:
        with fleet.owned(name) as conn:
            conn.execute(
                "INSERT INTO notes (id, body) SELECT n, 'n' || n FROM generate_series(2, 5) n"
            )


async def _at(fleet):
    rows = await fleet.sql("SELECT subdomain, revision FROM public.tenants ORDER BY subdomain")
    return {row.subdomain: row.revision for row in rows}


async def _over(fleet, rollout, roller):
    try:
        while (await fleet.view(rollout)).state is RolloutState.RUNNING:
            await fleet.work(roller)
    finally:
        await asyncio.to_thread(roller.online.close)
    return (await fleet.view(rollout)).state


DONE = ["desserts", "n2", "n3", "n4", "n5"]


async def test_batches_are_done_once_though_their_process_dies_between_them(fleet):
    deadly = batched(fleet, "batches", BATCHES)
    assert lint.lint(deadly) == []
    await asyncio.to_thread((deadly.application / "versions" / "die").touch)
    _fill(fleet)
    rollout = await fleet.begin(of=deadly, to=LAST)
    roller = fleet.roller(of=deadly, lanes=1)
    # The child has died in the second batch of one tenant; what the first had done is there.
    first = fleet.roller(of=deadly, lanes=1)
    try:
        await first.turn(asyncio.Event())
    finally:
        await asyncio.to_thread(first.online.close)
    assert await _over(fleet, rollout, roller) is RolloutState.SUCCEEDED
    assert await _at(fleet) == dict.fromkeys(NAMES, LAST)
    assert {name: _titles(fleet, name) for name in NAMES} == dict.fromkeys(NAMES, DONE)
    assert await fleet.sql("SELECT FROM public.rollout_positions") == []


async def test_batches_are_resumed_by_another_rollout_and_wait_for_no_lock_for_long(fleet):
    in_sql = batched(fleet, "in-sql", BATCHES_IN_SQL)
    _fill(fleet)
    acme, way = fleet.tenants["acme"], ByAlembic(in_sql)
    upgrader = Upgrader(fleet.engine, fleet.database.installation, way)

    async def one(rollout):
        outcome = await upgrader.one(rollout, acme)
        return (
            outcome,
            (await _at(fleet))["acme"],
            await fleet.sql("SELECT position, batches FROM public.rollout_positions"),
        )

    first = await fleet.begin(of=in_sql, to=LAST)
    # The column comes first, and by itself; the schema says so, and the catalog.
    assert await one(first) == (Outcome.PART, AFTER, [])
    assert await one(first) == (Outcome.PART, AFTER, [(2, 1)])
    assert _titles(fleet, "acme") == [*DONE[:2], None, None, None]
    with fleet.owned("acme") as reader:
        reader.execute("LOCK TABLE notes IN SHARE MODE")
        assert await one(first) == (Outcome.PUT_OFF, AFTER, [(2, 1)])
    await fleet.sql("UPDATE public.rollout_targets SET run_at = now()")
    assert (await fleet.error(first, "acme"))[1] == 1
    assert await one(first) == (Outcome.PART, AFTER, [(4, 2)])
    # Whoever gets further is not at the end of his attempts.
    error, attempt = await fleet.error(first, "acme")
    assert (error["detail"], attempt) == (
        "Revision own_0003 goes through its rows in batches; 2 are done.",
        0,
    )
    await fleet.ask(first, Ask.PAUSE)
    assert (await one(first))[0] is Outcome.MISSED
    await fleet.ask(first, Ask.CANCEL)
    second = await fleet.begin(of=in_sql, to=LAST)
    assert await one(second) == (Outcome.PART, AFTER, [(5, 3)])
    assert await one(second) == (Outcome.DONE, LAST, [])
    assert _titles(fleet, "acme") == DONE


async def test_who_goes_back_begins_the_batches_anew(fleet):
    in_sql = batched(fleet, "back", BATCHES_IN_SQL)
    _fill(fleet)
    acme = fleet.tenants["acme"]
    upgrader = Upgrader(fleet.engine, fleet.database.installation, ByAlembic(in_sql))
    forth = await fleet.begin(of=in_sql, to=LAST)
    for _ in range(2):
        assert await upgrader.one(forth, acme) is Outcome.PART
    await fleet.ask(forth, Ask.CANCEL)
    back = await fleet.begin(of=in_sql, to=BEFORE, back=True)
    compiled = Upgrader(fleet.engine, fleet.database.installation, Compiled(in_sql))
    assert await compiled.one(back, acme) is Outcome.DONE
    assert fleet.revision("acme") == BEFORE
    assert await fleet.sql("SELECT FROM public.rollout_positions") == []
    await fleet.ask(back, Ask.CANCEL)


STANDS_STILL = "online = True\nbatch = 'SELECT 1 WHERE :after IS DISTINCT FROM 7'"


async def test_a_batch_that_gets_nowhere_is_a_failure(fleet):
    still = batched(fleet, "still", STANDS_STILL)
    upgrader = Upgrader(fleet.engine, fleet.database.installation, ByAlembic(still))
    rollout = await fleet.begin(of=still, to=LAST)
    outcomes = [await upgrader.one(rollout, fleet.tenants["acme"]) for _ in range(3)]
    assert outcomes == [Outcome.PART, Outcome.PART, Outcome.FAILED]
    assert "own_0003 does not get any further" in (await fleet.error(rollout, "acme"))[0]["detail"]


NO_POSITION = "online = True\ndef batch(after):\n    return {'at': object()}"


async def test_a_position_that_cannot_be_kept_is_a_failure(fleet):
    odd = batched(fleet, "odd", NO_POSITION)
    upgrader = Upgrader(fleet.engine, fleet.database.installation, ByAlembic(odd))
    rollout = await fleet.begin(of=odd, to=LAST)
    outcomes = [await upgrader.one(rollout, fleet.tenants["acme"]) for _ in range(2)]
    assert outcomes == [Outcome.PART, Outcome.FAILED]
    assert "own_0003" in (await fleet.error(rollout, "acme"))[0]["detail"]
