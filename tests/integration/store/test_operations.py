"""Operations as they are accepted and read: steps, events in order, one at a time per tenant."""

import asyncio
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from controlplane.domain.operations import OperationState, StepState
from controlplane.errors import OperationInProgress, OperationNotFound
from controlplane.provisioning.plans import DEPROVISION, plan_to_json
from controlplane.store import operations
from tests.database import Database
from tests.integration.store.conftest import Accepted, accept

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


async def _add(conn: AsyncConnection, tenant_id: UUID) -> UUID:
    operation_id = uuid4()
    await operations.add(
        conn,
        operation_id=operation_id,
        tenant_id=tenant_id,
        kind="deprovision",
        plan=plan_to_json(DEPROVISION),
        plan_version=1,
        params={},
        requested_by=None,
        deadline_s=60,
    )
    return operation_id


async def test_an_operation_is_read_with_its_steps_in_order(
    conn: AsyncConnection, acme: Accepted
) -> None:
    operation = await operations.get(conn, acme.operation)
    assert (operation.tenant_id, operation.kind) == (acme.id, "provision")
    assert operation.state is OperationState.PENDING
    names = [step.name for step in operation.steps]
    assert names == ["schema", "admin", "dns", "verify", "activate"]
    assert {step.state for step in operation.steps} == {StepState.PENDING}
    assert {step.attempt for step in operation.steps} == {0}
    assert (operation.error, operation.finished_at, operation.cancel_requested) == (
        None,
        None,
        False,
    )


async def test_the_deadline_is_reckoned_by_the_databases_clock(
    conn: AsyncConnection, acme: Accepted
) -> None:
    operation = await operations.get(conn, acme.operation)
    assert 300 <= (operation.deadline_at - operation.created_at).total_seconds() < 400


async def test_an_unknown_operation_is_named(conn: AsyncConnection) -> None:
    with pytest.raises(OperationNotFound, match="00000000-0000-0000-0000-000000000001"):
        await operations.get(conn, UUID(int=1))


async def test_a_tenant_has_one_operation_at_a_time(conn: AsyncConnection, acme: Accepted) -> None:
    with pytest.raises(OperationInProgress):
        await _add(conn, acme.id)


async def test_another_tenants_operation_is_no_hindrance(
    conn: AsyncConnection, acme: Accepted, globex: Accepted
) -> None:
    assert acme.operation != globex.operation
    assert (await operations.get(conn, globex.operation)).tenant_id == globex.id


async def test_events_count_from_one_without_a_gap_in_each_operation(
    conn: AsyncConnection, acme: Accepted, globex: Accepted
) -> None:
    for number in range(3):
        await operations.add_event(conn, acme.operation, "noted", {"number": number})
    await operations.add_event(conn, globex.operation, "noted", {"number": 9})
    mine = await operations.events(conn, acme.operation)
    assert [(event.seq, event.type) for event in mine] == [
        (1, "accepted"),
        (2, "noted"),
        (3, "noted"),
        (4, "noted"),
    ]
    assert mine[0].data == {"kind": "provision"}
    theirs = await operations.events(conn, globex.operation)
    assert [event.seq for event in theirs] == [1, 2]


async def test_events_are_read_on_from_where_a_reader_stood(
    conn: AsyncConnection, acme: Accepted
) -> None:
    for number in range(4):
        await operations.add_event(conn, acme.operation, "noted", {"number": number})
    page = await operations.events(conn, acme.operation, after=1, limit=2)
    assert [event.seq for event in page] == [2, 3]
    assert await operations.events(conn, acme.operation, after=5) == []


async def test_events_written_at_once_wait_for_each_other_and_leave_no_gap(
    control: AsyncEngine,
) -> None:
    async with control.begin() as conn:
        accepted = await accept(conn, "acme")

    async def note() -> None:
        async with control.begin() as conn:
            await operations.add_event(conn, accepted.operation, "noted", {})

    await asyncio.gather(*(note() for _ in range(8)))
    async with control.connect() as conn:
        found = await operations.events(conn, accepted.operation)
    assert [event.seq for event in found] == list(range(1, 10))
    assert [event.at for event in found] == sorted(event.at for event in found)


async def test_whoever_listens_hears_of_an_accepted_operation_once_it_is_committed(
    control: AsyncEngine, database: Database
) -> None:
    with psycopg.connect(database.owner_url, autocommit=True) as listener:
        listener.execute("LISTEN controlplane_operations; LISTEN controlplane_events")
        async with control.begin() as conn:
            accepted = await accept(conn, "acme")
            assert list(listener.notifies(timeout=0)) == []
        heard = {notice.channel: notice.payload for notice in listener.notifies(stop_after=2)}
    assert heard == {
        "controlplane_operations": str(accepted.operation),
        "controlplane_events": str(accepted.operation),
    }


async def test_pages_hold_each_operation_once_and_can_be_narrowed(conn: AsyncConnection) -> None:
    accepted = [await accept(conn, f"tenant-{number}") for number in range(5)]
    seen, after = [], None
    while page := await operations.page(conn, limit=2, after=after):
        seen += [operation.id for operation in page]
        after = (page[-1].created_at, page[-1].id)
    assert sorted(seen) == sorted(one.operation for one in accepted)
    (one,) = await operations.page(conn, limit=9, tenant_id=accepted[0].id)
    assert (one.id, len(one.steps)) == (accepted[0].operation, 5)
    assert await operations.page(conn, limit=9, state=OperationState.PARKED) == []


async def test_a_locked_operation_keeps_others_waiting_until_the_commit(
    control: AsyncEngine, database: Database
) -> None:
    async with control.begin() as conn:
        accepted = await accept(conn, "acme")
    async with control.begin() as first, control.begin() as second:
        await operations.get(first, accepted.operation, lock=True)
        other = asyncio.create_task(operations.get(second, accepted.operation, lock=True))
        await asyncio.to_thread(_until_somebody_waits, database)
        assert not other.done()
        await operations.add_event(first, accepted.operation, "noted", {})
        await first.commit()
        assert (await other).id == accepted.operation


def _until_somebody_waits(database: Database) -> None:
    query = (
        "SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE NOT l.granted AND a.datname = current_database()"
    )
    with psycopg.connect(database.owner_url, autocommit=True) as conn:
        while not conn.execute(query).rowcount:
            pass
