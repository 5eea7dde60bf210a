"""The database holds the state machines, whatever a worker believes: every pair of states."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.errors import CheckViolation

from controlplane.domain.operations import (
    FINISHED,
    STEP_TRANSITIONS,
    OperationState,
    StepState,
)
from controlplane.domain.tenants import TRANSITIONS, TenantState

pytestmark = pytest.mark.database_near

O = OperationState  # noqa: E741  a table of eight states reads better so
OPERATION_TRANSITIONS: dict[OperationState, set[OperationState]] = {
    O.PENDING: {O.RUNNING},
    O.RUNNING: {O.SUCCEEDED, O.UNWINDING, O.PARKED},
    O.UNWINDING: {O.FAILED, O.CANCELLED, O.PARKED},
    O.PARKED: {O.UNWINDING, O.RUNNING, O.ABANDONED},
    O.SUCCEEDED: set(),
    O.FAILED: set(),
    O.CANCELLED: set(),
    O.ABANDONED: set(),
}

Pairs = set[tuple[StrEnum, StrEnum]]


def _allowed(transitions: Mapping[Any, Iterable[StrEnum]], *, closed: Iterable[StrEnum]) -> Pairs:
    """What may follow, and what may be written again as it is."""
    moves = {(old, new) for old, follow in transitions.items() for new in follow}
    return moves | {(state, state) for state in transitions if state not in closed}


def _tenant(conn: psycopg.Connection, state: TenantState) -> UUID:
    tenant = uuid4()
    conn.execute(
        "INSERT INTO public.tenants (id, name, subdomain, state, tier, admin_email)"
        " VALUES (%s, 'Acme', %s, %s, 'starter', 'ada@acme.test')",
        [tenant, f"t-{tenant.hex}", state],
    )
    return tenant


def _set_tenant(conn: psycopg.Connection, tenant: UUID, state: StrEnum) -> None:
    conn.execute("UPDATE public.tenants SET state = %s WHERE id = %s", [state, tenant])


def _operation(conn: psycopg.Connection, state: OperationState) -> UUID:
    operation = uuid4()
    conn.execute(
        "INSERT INTO public.operations (id, tenant_id, kind, plan, plan_version, deadline_at,"
        " state, finished_at, abandon_reason, abandon_comment, abandoned_by)"
        " VALUES (%(id)s, %(tenant)s, 'provision', '{}', 1, now(), %(state)s,"
        " CASE WHEN %(over)s THEN now() END, %(why)s, %(why)s, %(why)s)",
        {
            "id": operation,
            "tenant": _tenant(conn, TenantState.ACTIVE),
            "state": state,
            "over": state in FINISHED,
            "why": "x" if state is O.ABANDONED else None,
        },
    )
    return operation


def _set_operation(conn: psycopg.Connection, operation: UUID, state: StrEnum) -> None:
    """With everything that the CHECKs ask of that state, so that the trigger alone decides."""
    conn.execute(
        "UPDATE public.operations SET state = %(state)s,"
        " finished_at = CASE WHEN %(over)s THEN now() END,"
        " abandon_reason = %(why)s, abandon_comment = %(why)s, abandoned_by = %(why)s"
        " WHERE id = %(id)s",
        {
            "id": operation,
            "state": state,
            "over": state in FINISHED,
            "why": "x" if state is O.ABANDONED else None,
        },
    )


def _step(conn: psycopg.Connection, state: StepState) -> UUID:
    operation = _operation(conn, O.RUNNING)
    conn.execute(
        "INSERT INTO public.operation_steps (operation_id, ordinal, name, state)"
        " VALUES (%s, 0, 'schema', %s)",
        [operation, state],
    )
    return operation


def _set_step(conn: psycopg.Connection, operation: UUID, state: StrEnum) -> None:
    conn.execute(
        "UPDATE public.operation_steps SET state = %s WHERE operation_id = %s", [state, operation]
    )


@dataclass(frozen=True)
class Machine:
    """How to make and change a row in a state, and what the domain lets follow on what."""

    states: type[StrEnum]
    make: Callable[[psycopg.Connection, Any], UUID]
    change: Callable[[psycopg.Connection, UUID, StrEnum], None]
    allowed: Pairs


MACHINES = {
    "step": Machine(
        StepState, _step, _set_step, _allowed(STEP_TRANSITIONS, closed={StepState.UNDONE})
    ),
    "operation": Machine(
        OperationState, _operation, _set_operation, _allowed(OPERATION_TRANSITIONS, closed=FINISHED)
    ),
    "tenant": Machine(
        TenantState, _tenant, _set_tenant, _allowed(TRANSITIONS, closed={TenantState.PURGED})
    ),
}


@pytest.mark.parametrize("name", MACHINES)
def test_the_database_allows_exactly_the_transitions_of_the_domain(
    tx: psycopg.Connection, name: str
) -> None:
    machine = MACHINES[name]
    passed: Pairs = set()
    refused_by = set()
    for old, new in product(machine.states, machine.states):
        try:
            with tx.transaction():
                machine.change(tx, machine.make(tx, old), new)
            passed.add((old, new))
        except CheckViolation as error:
            refused_by.add(error.diag.constraint_name)
    assert passed == machine.allowed
    assert refused_by == {f"ck_{name}_transition"}


@pytest.mark.parametrize("state", sorted(FINISHED))
@pytest.mark.parametrize(
    "change",
    [
        "error = '{}'",
        "epoch = epoch + 1",
        "run_at = now()",
        "lease_owner = 'zombie'",
        "cancel_requested_at = now()",
        "finished_at = now()",
        "event_seq = event_seq + 1",
    ],
)
def test_nothing_of_an_ended_operation_changes(
    tx: psycopg.Connection, state: OperationState, change: str
) -> None:
    operation = _operation(tx, state)
    update = f"UPDATE public.operations SET {change} WHERE id = %s"  # noqa: S608  from the table above
    with pytest.raises(CheckViolation, match=f"may not go from {state} to {state}"):
        tx.execute(update.encode(), [operation])


@pytest.mark.parametrize("state", OperationState)
def test_an_operation_has_an_end_exactly_if_it_ended(
    tx: psycopg.Connection, state: OperationState
) -> None:
    operation = _operation(tx, state)
    with pytest.raises(CheckViolation) as caught:
        tx.execute(
            "INSERT INTO public.operations (id, tenant_id, kind, plan, plan_version,"
            " deadline_at, state, finished_at, abandon_reason, abandon_comment, abandoned_by)"
            " SELECT gen_random_uuid(), tenant_id, kind, plan, plan_version, deadline_at,"
            " state, CASE WHEN finished_at IS NULL THEN now() END,"
            " abandon_reason, abandon_comment, abandoned_by"
            " FROM public.operations WHERE id = %s",
            [operation],
        )
    assert caught.value.diag.constraint_name == "ck_operations_finished"


@pytest.mark.parametrize("missing", ["abandon_reason", "abandon_comment", "abandoned_by"])
def test_abandoning_needs_reason_comment_and_name(tx: psycopg.Connection, missing: str) -> None:
    operation = _operation(tx, O.PARKED)
    given = {"abandon_reason": "x", "abandon_comment": "x", "abandoned_by": "x"}
    given[missing] = ""
    with pytest.raises(CheckViolation) as caught:
        tx.execute(
            "UPDATE public.operations SET state = 'abandoned', finished_at = now(),"
            " abandon_reason = nullif(%(abandon_reason)s, ''),"
            " abandon_comment = nullif(%(abandon_comment)s, ''),"
            " abandoned_by = nullif(%(abandoned_by)s, '') WHERE id = %(id)s",
            {**given, "id": operation},
        )
    assert caught.value.diag.constraint_name == "ck_operations_abandoned"


@pytest.mark.parametrize("state", sorted(set(OperationState) - {O.ABANDONED}))
def test_only_an_abandoned_operation_says_why(
    tx: psycopg.Connection, state: OperationState
) -> None:
    operation = _operation(tx, state)
    copy = (
        "INSERT INTO public.operations (id, tenant_id, kind, plan, plan_version, deadline_at,"
        " state, finished_at, abandon_reason, abandon_comment, abandoned_by)"
        " SELECT gen_random_uuid(), %s, kind, plan, plan_version, deadline_at,"
        " state, finished_at, 'x', 'x', 'x' FROM public.operations WHERE id = %s"
    )
    with pytest.raises(CheckViolation) as caught:
        tx.execute(copy, [_tenant(tx, TenantState.ACTIVE), operation])
    assert caught.value.diag.constraint_name == "ck_operations_abandoned"
