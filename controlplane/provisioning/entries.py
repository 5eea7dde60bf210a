"""What a step's transaction enters besides its effect: the tenant's inventory, the condition that
the step makes hold, and the journal. All of it commits with the effect, or none."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.operations import Action, Operation
from controlplane.provisioning import journal
from controlplane.provisioning.course import Course
from controlplane.provisioning.step import Later, Step, Target
from controlplane.store import tenants


async def intent(
    tx: AsyncConnection, after: Operation, course: Course, step: Step, target: Target
) -> None:
    """Before a call to the outside: whatever becomes of it, there is something to look for."""
    await _held(tx, after, course, step, target)
    await journal.record(tx, after, course.ordinal, event=f"{course.event}_started")


async def done(
    tx: AsyncConnection, after: Operation, course: Course, step: Step, target: Target
) -> None:
    """With the effect, or behind the call that had it."""
    await _held(tx, after, course, step, target)
    if course.action is Action.ABSENT and step.resource is not None:
        await journal.unhold(tx, after.tenant_id, step.resource, step.external_id(target))
    await _condition(tx, after, step, holds=course.action is Action.ENSURE)
    await journal.record(tx, after, course.ordinal, event=f"{course.event}_done")


async def waiting(
    tx: AsyncConnection,
    after: Operation,
    course: Course,
    step: Step,
    *,
    target: Target,
    later: Later,
    late: dict[str, Any] | None,
) -> None:
    """Instead of `done`: lets go of the operation for a while. `late` is shown of the step."""
    await _held(tx, after, course, step, target)
    if course.action is Action.ABSENT:
        # A half of it is no whole.
        await _condition(tx, after, step, holds=False)
    elif later.reason and later.reason != _reason(step, target):
        await _condition(tx, after, step, holds=False, reason=later.reason)
    event = f"{course.event}_waiting"
    await journal.record(tx, after, course.ordinal, event=event, error=late)
    await journal.release(
        tx, after, after_s=later.after_s, ordinal=course.ordinal, queued=later.queued
    )


async def _held(
    tx: AsyncConnection, after: Operation, course: Course, step: Step, target: Target
) -> None:
    if course.action is Action.ENSURE and step.resource is not None:
        await journal.hold(tx, after, step.resource, step.external_id(target))


async def _condition(
    tx: AsyncConnection, after: Operation, step: Step, *, holds: bool, reason: str | None = None
) -> None:
    if step.condition is not None:
        await tenants.set_condition(tx, after.tenant_id, step.condition, holds=holds, reason=reason)


def _reason(step: Step, target: Target) -> str | None:
    """What the tenant shows already: that it lasts since then is not to be lost."""
    told: Any = target.tenant.conditions.get(step.condition or "")
    return told["reason"] if told and not told["holds"] else None
