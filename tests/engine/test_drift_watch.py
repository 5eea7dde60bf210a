"""A worker compares tenants' schemas with the template now and then, and tells what it saw."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import event

from controlplane import worker
from controlplane.domain.naming import schema_name
from controlplane.provisioning import lifecycle
from controlplane.store import census, structure_looks
from tests.engine.lab import ACTOR
from tests.engine.looking import listed

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


async def due(lab):
    await lab.sql("UPDATE public.structure_look SET begun_at = begun_at - interval '2 hours'")


def meddle(lab, tenant_id, statement):
    with psycopg.connect(lab.database.superuser_url) as conn:
        conn.execute(sql.SQL(statement).format(sql.Identifier(schema_name(tenant_id))))


async def seen(lab):
    async with lab.parts.control.connect() as conn:
        drifted = await structure_looks.page(conn, limit=10)
        return await structure_looks.newest(conn), drifted, await census.take(conn)


async def test_one_worker_looks_once_an_hour_and_tells_what_differs_and_who_lacks_an_admin(
    empty_lab,
):
    lab = empty_lab
    acme, globex = await lab.active("acme"), await lab.active("globex")
    watches = [worker.open_drift_watch(lab.parts) for _ in range(3)]
    assert (await seen(lab))[0] is None
    looked = await asyncio.gather(*(watch.turn() for watch in watches))
    assert sorted(looked) == [False, False, True]
    first, drifted, counted = await seen(lab)
    assert (first.compared, first.behind, first.drifted, drifted) == (2, 0, 0, [])
    assert (counted.drifted, counted.compared) == (0, first.looked_at.timestamp())

    meddle(lab, acme, "ALTER TABLE {}.users ALTER state SET DEFAULT 'gone'")
    meddle(lab, globex, "DELETE FROM {}.users")
    assert not await watches[0].turn()
    await due(lab)
    assert await watches[0].turn()
    second, (one,), counted = await seen(lab)
    assert (second.compared, second.drifted, counted.drifted) == (2, 1, 1)
    assert (one.tenant_id, one.subdomain, len(one.differences)) == (acme, "acme", 1)
    assert {name: one.differences[0][name] for name in ("kind", "on", "expected", "found")} == {
        "kind": "default",
        "on": "users",
        "expected": "'active'::text",
        "found": "'gone'::text",
    }
    assert await listed(lab) == {("tenant_without_admin", "globex")}

    meddle(lab, acme, "ALTER TABLE {}.users ALTER state SET DEFAULT 'active'")
    async with lab.parts.control.begin() as conn:
        repair = await lifecycle.repair(conn, globex, actor=ACTOR, deadline_s=300)
    await lab.settle(repair)
    # Whoever has had an operation since is looked at anew first.
    assert await listed(lab) == set()
    await due(lab)
    assert await watches[0].turn()
    assert [(await seen(lab))[1], await listed(lab)] == [[], set()]


async def test_no_server_process_keeps_in_mind_what_a_look_has_asked_it(empty_lab):
    lab = empty_lab
    schema = schema_name(await lab.active("acme"))
    owner, asked = lab.parts.owner.sync_engine, set()

    def record(conn: Any, _cursor: Any, _statement: Any, parameters: Any, *_: Any) -> None:
        if schema in str(parameters):
            asked.add(conn.connection.driver_connection.info.backend_pid)

    event.listen(owner, "before_cursor_execute", record)
    try:
        assert await worker.open_drift_watch(lab.parts).turn()
    finally:
        event.remove(owner, "before_cursor_execute", record)
    assert asked
    with psycopg.connect(lab.database.superuser_url, autocommit=True) as conn:
        there = "SELECT pid FROM pg_stat_activity WHERE pid = ANY (%s)"
        async with asyncio.timeout(60):
            while conn.execute(there, [list(asked)]).fetchall():  # noqa: ASYNC110  another process
                await asyncio.sleep(0.02)


async def test_a_look_that_was_overtaken_is_not_kept(empty_lab):
    async with empty_lab.parts.owner.begin() as conn:
        claimed = await structure_looks.claim(conn, every_s=60)
        assert claimed is not None
        kept: dict[str, Any] = {
            "revision": "a",
            "compared": 1,
            "behind": 0,
            "drifted": 0,
            "found": {},
        }
        late = claimed - timedelta(hours=1)
        assert not await structure_looks.keep(conn, late, **kept)
        assert await structure_looks.keep(conn, claimed, **kept)


async def test_nobody_looks_where_that_is_off_and_whoever_is_told_to_stop_does(empty_lab):
    watch = worker.open_drift_watch(empty_lab.parts)
    await replace(watch, every_s=0.0).run(asyncio.Event())
    stopping = asyncio.Event()
    stopping.set()
    await watch.run(stopping)
    assert (await seen(empty_lab))[0] is None
