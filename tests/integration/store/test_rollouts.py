"""The tables of rollouts keep their rules whatever anybody believes."""

from itertools import product
from uuid import uuid4

import pytest
from psycopg.errors import CheckViolation, UniqueViolation

from controlplane.domain.rollouts import (
    ENDED,
    TARGET_TRANSITIONS,
    TRANSITIONS,
    RolloutState,
    TargetState,
)

pytestmark = pytest.mark.database_near


def _rollout(tx, state=RolloutState.RUNNING):
    rollout = uuid4()
    tx.execute(
        "INSERT INTO public.rollouts (id, state, revision, digest, policy, max_parallel, error,"
        " finished_at) VALUES (%s, %s, 'a', 'b', '{}', 2, CASE WHEN %s THEN '{}'::jsonb END,"
        " CASE WHEN %s THEN now() END)",
        [rollout, state, state == "halted", state in ENDED],
    )
    return rollout


def _target(tx, rollout, state=TargetState.PENDING):
    tenant = uuid4()
    tx.execute(
        "INSERT INTO public.tenants (id, name, subdomain, state, tier, admin_email)"
        " VALUES (%s, 'Acme', %s, 'active', 'starter', 'ada@acme.test')",
        [tenant, f"t-{tenant.hex}"],
    )
    tx.execute(
        "INSERT INTO public.rollout_targets (rollout_id, tenant_id, ring, state, error, finished_at)"
        " VALUES (%s, %s, 0, %s, '{}', CASE WHEN %s THEN now() END)",
        [rollout, tenant, state, state != "pending"],
    )
    return tenant


def _follows(tx, statement, values):
    try:
        with tx.transaction():
            tx.execute(statement, values)
    except CheckViolation as error:
        return error.diag.constraint_name
    return None


def test_a_rollout_goes_only_where_its_states_lead(tx):
    change = (
        "UPDATE public.rollouts SET state = %s, error = CASE WHEN %s THEN '{}'::jsonb END,"
        " finished_at = CASE WHEN %s THEN now() END WHERE id = %s"
    )
    for old, new in product(RolloutState, RolloutState):
        with tx.transaction(force_rollback=True):
            values = [new, new == "halted", new in ENDED, _rollout(tx, old)]
            allowed = old == new or new in TRANSITIONS[old]
            expected = None if allowed else "ck_rollouts_transition"
            assert _follows(tx, change, values) == expected, (old, new)


def test_a_target_goes_only_where_its_states_lead(tx):
    rollout = _rollout(tx)
    change = (
        "UPDATE public.rollout_targets SET state = %s,"
        " finished_at = CASE WHEN %s THEN now() END WHERE tenant_id = %s"
    )
    for old, new in product(TargetState, TargetState):
        values = [new, new != "pending", _target(tx, rollout, old)]
        allowed = old == new or new in TARGET_TRANSITIONS[old]
        expected = None if allowed else "ck_rollout_targets_transition"
        assert _follows(tx, change, values) == expected, (old, new)


@pytest.mark.parametrize("state", sorted(set(RolloutState) - ENDED))
def test_a_second_rollout_is_refused_while_one_is_in_this_state(tx, state):
    _rollout(tx, state)
    with pytest.raises(UniqueViolation, match="uq_rollouts_live"):
        _rollout(tx)


def test_after_those_that_have_ended_another_may_begin(tx):
    for state in sorted(ENDED):
        _rollout(tx, state)
    _rollout(tx)


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("state = 'resting'", "ck_rollouts_state"),
        ("max_parallel = 0", "ck_rollouts_max_parallel"),
        ("ring = -1", "ck_rollouts_ring"),
        ("state = 'halted'", "ck_rollouts_halted"),
        ("error = '{}'", "ck_rollouts_halted"),
        ("state = 'cancelled'", "ck_rollouts_finished"),
        ("finished_at = now()", "ck_rollouts_finished"),
        ("request_key = 'k'", "ck_rollouts_request"),
        ("singleton = false", "ck_rollouts_singleton"),
    ],
)
def test_a_rollout_that_makes_no_sense_is_refused_by_name(tx, change, constraint):
    _rollout(tx)
    with pytest.raises(CheckViolation) as refused:
        tx.execute(f"UPDATE public.rollouts SET {change}")  # noqa: S608  of this table of cases
    assert refused.value.diag.constraint_name == constraint


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("state = 'lost', finished_at = now()", "ck_rollout_targets_state"),
        ("attempt = -1", "ck_rollout_targets_ring"),
        ("state = 'done'", "ck_rollout_targets_finished"),
        ("state = 'failed', finished_at = now(), error = NULL", "ck_rollout_targets_error"),
    ],
)
def test_a_target_that_makes_no_sense_is_refused_by_name(tx, change, constraint):
    _target(tx, _rollout(tx))
    with pytest.raises(CheckViolation) as refused:
        tx.execute(f"UPDATE public.rollout_targets SET {change}")  # noqa: S608  as above
    assert refused.value.diag.constraint_name == constraint


@pytest.mark.parametrize(
    ("table", "condition", "index"),
    [
        ("rollouts", "finished_at IS NULL AND singleton", "uq_rollouts_live"),
        ("rollouts", "true ORDER BY created_at DESC, id DESC", "ix_rollouts_created_at_id"),
        (
            "rollout_targets",
            "rollout_id = gen_random_uuid() AND ring <= 1 AND state = 'pending'",
            "ix_rollout_targets_pending",
        ),
    ],
)
def test_a_frequent_question_finds_its_index(tx, table, condition, index):
    tx.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
    plan = tx.execute(f"EXPLAIN SELECT FROM public.{table} WHERE {condition}".encode()).fetchall()
    assert index in str(plan)
