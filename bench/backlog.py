"""Operations of steps that do nothing, entered straight into the tables."""

import json
from uuid import uuid4

import psycopg

from controlplane.domain.operations import Action, Plan, PlanStep, Reach
from controlplane.provisioning.plans import plan_to_json

STEPS = 5
PLAN = Plan(
    "idle",
    1,
    tuple(
        PlanStep(f"idle{n}", Action.ENSURE, Reach.LOCAL, pivot=n == STEPS - 1) for n in range(STEPS)
    ),
    rolled_back=None,
)

_TENANTS = """
INSERT INTO public.tenants (id, name, subdomain, state, tier, admin_email)
SELECT id, 'Bench', 'b-' || replace(id::text, '-', ''), 'provisioning', 'starter', 'ada@bench.test'
FROM unnest(%(tenants)s::uuid[]) AS id
"""
_OPERATIONS = """
WITH op AS (
  INSERT INTO public.operations (id, tenant_id, kind, plan, plan_version, state, deadline_at,
    finished_at)
  SELECT gen_random_uuid(), tenant_id, 'idle', %(plan)s::jsonb, 1,
    CASE WHEN %(finished)s THEN 'succeeded' ELSE 'pending' END,
    clock_timestamp() + interval '1 hour', CASE WHEN %(finished)s THEN clock_timestamp() END
  FROM unnest(%(tenants)s::uuid[]) AS tenant_id, generate_series(1, %(each)s)
  RETURNING id
)
INSERT INTO public.operation_steps (operation_id, ordinal, name, state)
SELECT id, ordinal - 1, step->>'name', CASE WHEN %(finished)s THEN 'done' ELSE 'pending' END
FROM op, jsonb_array_elements(%(plan)s::jsonb->'steps') WITH ORDINALITY AS s (step, ordinal)
"""


def enter(conn: psycopg.Connection, tenants: int, *, each: int = 1, finished: bool = False) -> None:
    """Operations of tenants of their own, due at once or finished."""
    values = {
        "tenants": [uuid4() for _ in range(tenants)],
        "plan": json.dumps(plan_to_json(PLAN)),
        "each": each,
        "finished": finished,
    }
    with conn.transaction():
        conn.execute(_TENANTS, values)
        conn.execute(_OPERATIONS, values)


def enter_finished(conn: psycopg.Connection, operations: int) -> None:
    """A hundred for each tenant."""
    enter(conn, operations // 100, each=100, finished=True)
    # As autovacuum leaves them.
    for table in ("operations", "operation_steps"):
        conn.execute(
            psycopg.sql.SQL("VACUUM ANALYZE public.{}").format(psycopg.sql.Identifier(table))
        )
