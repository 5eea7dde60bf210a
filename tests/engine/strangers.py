"""Somebody else holds what a worker needs, for a while."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, LiteralString

import psycopg

from controlplane.store.operations import OperationView
from tests.engine.faults import Failure
from tests.engine.lab import Lab, setting

PLACES_OUTSIDE = (
    *(f"step:{step}:before-begin" for step in ("schema", "admin", "activate")),
    *(
        f"step:{step}:{place}"
        for step in ("dns", "verify")
        for place in ("before-intent", "after-call")
    ),
    "operation:provision:before-finish",
)
PLACES_BACK = (
    "operation:provision:before-unwind",
    *(f"undo:{step}:before-begin" for step in ("schema", "admin")),
    *(
        f"undo:{step}:{place}"
        for step in ("dns", "verify")
        for place in ("before-intent", "after-call")
    ),
    "operation:provision:before-finish",
)
# Where somebody stands in the way, and how the operation ends.
WAYS = [(PLACES_OUTSIDE, "succeeded"), (PLACES_BACK, "failed")]


@asynccontextmanager
async def in_a_hurry(lab: Lab) -> AsyncIterator[None]:
    """The lab's worker waits a tenth of a second for a lock."""
    async with setting(lab, "lock_timeout", "100ms"):
        yield


async def failures(lab: Lab, operation: OperationView) -> list[tuple[str, Any]]:
    """The errors of steps and undos that the journal tells of."""
    rows = await lab.sql(
        "SELECT step, data->'error' AS error FROM public.operation_events"
        " WHERE operation_id = :id AND type IN ('step_failed', 'undo_failed') ORDER BY seq",
        id=operation.id,
    )
    return [(row.step, row.error) for row in rows]


async def stand_in_the_way(
    lab: Lab,
    stranger: psycopg.Connection,
    lock: LiteralString,
    places: Sequence[str],
    ends: str,
) -> None:
    """At each place once; the worker meets it, or finds that it does not need it there."""
    left = list(places)
    if ends == "failed":
        lab.steps = Failure("activate", "ensure").wrap(lab.steps)

    async def lock_it(place: str) -> None:
        if place in left:
            left.remove(place)
            stranger.execute(lock)

    operation = await lab.create("acme")
    lab.failpoint = lock_it
    for _ in range(2 * len(places)):
        await lab.expire()
        await lab.drive_once()
        stranger.rollback()

    ended = await lab.settle(operation)
    assert (left, ended.state) == ([], ends)
    told = await failures(lab, operation)
    assert {error["retriable"] for step, error in told if step != "activate" and error} <= {True}
