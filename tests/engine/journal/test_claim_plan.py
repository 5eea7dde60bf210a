"""What a claim costs does not grow with what is finished: it reads the index of what is runnable."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from controlplane.provisioning.plans import plan_to_json
from tests.engine.journal.rows import PLAN, claimed, enter, sql

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]

_FINISHED = """
INSERT INTO public.operations (id, tenant_id, kind, plan, plan_version, state, deadline_at,
  finished_at)
SELECT gen_random_uuid(), (SELECT id FROM public.tenants LIMIT 1), 'example', CAST(:plan AS jsonb),
  1, 'succeeded', now(), now()
FROM generate_series(1, 20000)
"""


async def test_a_claim_finds_what_is_due_by_the_partial_index(owner: AsyncEngine) -> None:
    due = await enter(owner)
    await sql(owner, _FINISHED, plan=json.dumps(plan_to_json(PLAN)))
    await sql(owner, "ANALYZE public.operations")
    sent: list[tuple[str, Any]] = []

    def record(*told: Any) -> None:
        sent.append((told[2], told[3]))

    event.listen(owner.sync_engine, "before_cursor_execute", record)
    (found,) = await claimed(owner, limit=2)
    event.remove(owner.sync_engine, "before_cursor_execute", record)
    assert found.id == due

    ((statement, parameters),) = sent
    async with owner.connect() as conn:
        told = await conn.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
        nodes = list(_nodes(told.scalar_one()[0]["Plan"]))
    scans = [
        node
        for node in nodes
        if node.get("Relation Name") == "operations" and "Scan" in node["Node Type"]
    ]
    assert {node["Index Name"] for node in scans} == {"ix_operations_runnable", "pk_operations"}
    assert all(node["Node Type"] != "Seq Scan" for node in scans)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)
