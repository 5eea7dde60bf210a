"""What follows in a rollout, state by state."""

from itertools import product

import pytest

from controlplane.domain.rings import parse_rings
from controlplane.domain.rollouts import (
    ENDED,
    TARGET_TRANSITIONS,
    TRANSITIONS,
    Ask,
    Budget,
    Finish,
    Halt,
    Later,
    NextRing,
    Policy,
    Refuse,
    Rest,
    RolloutState,
    Skip,
    Tally,
    TargetState,
    Upgrade,
    Work,
    answer,
    course,
    next_move,
    parse_budget,
    wait_s,
)
from controlplane.domain.tenants import TenantState
from controlplane.errors import ValidationFailed

POLICY = Policy(parse_rings(["canary=1%"]), Budget(count=1), soak_s=60)
RUNNING = RolloutState.RUNNING


def move(ring=0, state=RUNNING, policy=POLICY, **tally):
    known = {"pending": 0, "failed": 0, "size": 10, "excused": 0, "failed_ever": 0, **tally}
    return next_move(state, ring=ring, policy=policy, tally=Tally(**known))


@pytest.mark.parametrize(
    ("expected", "told"),
    [
        (Work(), {"pending": 1}),
        (Work(), {"pending": 1, "failed": 1}),
        (Halt(2), {"pending": 1, "failed": 2}),
        (Halt(2), {"failed": 2, "ring": 1}),
        (Work(), {"pending": 1, "failed": 2, "excused": 1}),
        (Work(), {"pending": 1, "failed": 3, "excused": 2}),
        (Halt(4), {"pending": 1, "failed": 4, "excused": 2}),
        (NextRing(1, 60), {"failed": 1}),
        (NextRing(1, 0), {"size": 0}),
        (Finish(RolloutState.SUCCEEDED), {"ring": 1}),
        (Finish(RolloutState.INCOMPLETE), {"ring": 1, "failed": 1, "failed_ever": 1}),
        (Finish(RolloutState.INCOMPLETE), {"ring": 1, "failed_ever": 3}),
        (Finish(RolloutState.SUCCEEDED), {"ring": 1, "size": 0}),
    ],
)
def test_a_running_rollout_moves_on_like_this(expected, told):
    assert move(**told) == expected


@pytest.mark.parametrize("state", sorted(set(RolloutState) - {RUNNING}))
@pytest.mark.parametrize(("pending", "failed"), [(0, 0), (5, 0), (0, 5)])
def test_nothing_is_done_with_one_that_does_not_run(state, pending, failed):
    assert move(state=state, pending=pending, failed=failed) == Rest()


def test_every_move_is_one_that_the_states_allow():
    for pending, failed, excused, ring in product((0, 1), (0, 1, 5), (0, 4), (0, 1)):
        found = move(ring=ring, pending=pending, failed=failed, excused=excused, failed_ever=failed)
        match found:
            case Halt():
                assert RolloutState.HALTED in TRANSITIONS[RUNNING]
            case Finish(state):
                assert state in ENDED & TRANSITIONS[RUNNING]
            case NextRing(to):
                assert (to, pending) == (1, 0)


@pytest.mark.parametrize(
    ("ask", "allowed"),
    [
        (Ask.PAUSE, {"running": "paused"}),
        (Ask.RESUME, {"paused": "running", "halted": "running"}),
        (
            Ask.RETRY,
            {
                "running": "running",
                "paused": "paused",
                "halted": "running",
                "incomplete": "running",
            },
        ),
        (Ask.CANCEL, dict.fromkeys(("running", "paused", "halted"), "cancelled")),
    ],
)
def test_an_operator_may_ask_this_and_nothing_else(ask, allowed):
    for state in RolloutState:
        found = answer(ask, state)
        assert found == allowed.get(state)
        assert found in {None, state} | TRANSITIONS[state]


def test_a_target_that_is_done_or_skipped_stays_so():
    assert TARGET_TRANSITIONS[TargetState.DONE] == TARGET_TRANSITIONS[TargetState.SKIPPED] == set()
    assert TARGET_TRANSITIONS[TargetState.FAILED] == {TargetState.PENDING}


@pytest.mark.parametrize(
    ("text", "failed", "of", "allowed"),
    [
        ("0", 0, 10, True),
        ("0", 1, 10, False),
        ("3", 3, 3, True),
        ("3", 4, 1000, False),
        ("2%", 10, 500, True),
        ("2%", 11, 500, False),
        ("2%", 1, 49, False),
        ("100%", 7, 7, True),
    ],
)
def test_a_budget_allows_so_many(text, failed, of, allowed):
    assert parse_budget(text).allows(failed, of=of) is allowed
    assert str(parse_budget(text)) == text


@pytest.mark.parametrize("text", ["", "-1", "1.5", "101%", "many", "%"])
def test_a_budget_that_makes_no_sense_is_refused(text):
    with pytest.raises(ValidationFailed):
        parse_budget(text)


def test_a_policy_is_pinned_and_read_back():
    policy = Policy(parse_rings(["a=tag:x", "b=2%"]), Budget(percent=2), soak_s=1.5, attempts=3)
    assert Policy.from_json(policy.to_json()) == policy


@pytest.mark.parametrize("state", TenantState)
def test_every_tenant_with_a_schema_is_a_target_whatever_its_state(state):
    found = course(state, revision="a", operation=None, parked=False)
    purged = state in {TenantState.PURGING, TenantState.PURGED}
    assert found == (Skip("The tenant is being purged.") if purged else Upgrade())


@pytest.mark.parametrize(
    ("revision", "operation", "parked", "expected"),
    [
        (None, None, False, Skip),
        (None, "provision", False, Later),
        ("a", "suspend", False, Later),
        ("a", "suspend", True, Refuse),
    ],
)
def test_a_tenant_with_an_operation_is_waited_for(revision, operation, parked, expected):
    state = TenantState.PROVISIONING if revision is None else TenantState.ACTIVE
    found = course(state, revision=revision, operation=operation, parked=parked)
    assert isinstance(found, expected)


def test_waits_grow_to_half_a_minute_and_no_further():
    waits = [wait_s(attempt) for attempt in (1, 2, 3, 7, 8, 500)]
    assert waits == [0.5, 1.0, 2.0, 30.0, 30.0, 30.0]
