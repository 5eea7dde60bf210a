"""Drives one claimed operation from where its journal stands until it ends, waits or is lost.

    local   begin · fence · effect · record done · commit
    remote  begin · fence · record started · commit · call · begin · fence · record done · commit

Undo mirrors it. A local effect is exactly once because it commits with its journal; a remote one
converges because its intent is on record before the call. A step that is not there yet records
that it waits, in place of its end, and lets go of the operation.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, assert_never, cast

import structlog
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain import moves
from controlplane.domain.moves import Finish, Park, Perform, Rest, Retry, Undo, Unwind
from controlplane.domain.naming import Mark
from controlplane.domain.operations import Action, Operation, OperationState, Reach
from controlplane.errors import LeaseLost, StepError, Transient
from controlplane.provisioning import entries, journal
from controlplane.provisioning.course import Course
from controlplane.provisioning.crew import Crew
from controlplane.provisioning.failures import database_failure, unforeseen
from controlplane.provisioning.giving_back import give_back
from controlplane.provisioning.leases import Lease
from controlplane.provisioning.signals import Reconsider, Released
from controlplane.provisioning.step import Later, LocalStep, Output, RemoteStep, Target
from controlplane.store import audit, tenants

log = structlog.get_logger()


@dataclass
class Drive:
    """The drive of one operation under one lease; `run` it once."""

    crew: Crew
    operation: Operation
    lease: Lease
    _tenant: Any = field(default=None, repr=False)
    _conn: AsyncConnection = field(init=False, repr=False)

    async def run(self) -> float | None:
        """Returns when the operation is over or given back: where it queues for its turn, how many
        seconds from now it has it.

        Raises LeaseLost, and whatever the database raises when a commit's fate is unknown: then
        nothing may be concluded, and the next claim reads the journal.
        """
        # One connection for all of it: taking one for each transaction cost as much as a statement.
        async with self.crew.database.connect() as self._conn:
            self._tenant = await tenants.get(self._conn, self.operation.tenant_id)
            await self._conn.rollback()
            return await self._moves()

    async def _moves(self) -> float | None:
        while not isinstance(move := moves.next_move(self.operation), Rest):
            try:
                await self._make(move)
            except Reconsider:
                continue
            except Released as released:
                return released.turn_s
        return None

    async def _make(self, move: Perform | Undo | Unwind | Finish) -> None:
        match move:
            case Perform(ordinal):
                await self._go(Course.forward(self.operation, ordinal))
            case Undo(ordinal):
                await self._go(Course.back(self.operation, ordinal))
            case Unwind():
                await self._unwind(move, None)
            case Finish(state):
                await self._finish(state)
            case _:
                assert_never(move)

    async def _go(self, course: Course) -> None:
        go = self._local if course.planned.reach is Reach.LOCAL else self._remote
        try:
            await go(course)
        except (LeaseLost, Released, Reconsider, InterfaceError):
            raise
        except StepError as error:
            await self._failed(course, error)
        except DBAPIError as error:
            await self._failed(course, database_failure(error))
        except Exception as error:
            # A step's bug must undo its operation, not end the worker.
            log.exception("step_broke", operation=str(self.operation.id), step=course.planned.name)
            await self._failed(course, unforeseen(error))

    # -- the two protocols --------------------------------------------------------------------

    async def _local(self, course: Course) -> None:
        step = cast(LocalStep, self._step(course))
        target = self._target(course)
        await self._at(course, "before-begin")
        async with self._fenced(course) as tx:
            await self._at(course, "after-fence")
            act = step.ensure if course.action is Action.ENSURE else step.absent
            output = await act(tx, target)
            await self._at(course, "after-effect")
            tried = course.tried(self.operation)
            after = await self._record(tx, tried, course, target, output)
        await self._go_on(after, course, output)

    async def _remote(self, course: Course) -> None:
        step = cast(RemoteStep, self._step(course))
        target = self._target(course)
        await self._intend(course, target)
        await self._at(course, "before-call")
        output = await self._call(step, course, target)
        await self._at(course, "after-call")
        async with self._fenced(course, reconsider=False) as tx:
            after = await self._record(tx, self.operation, course, target, output)
        await self._go_on(after, course, output)

    async def _intend(self, course: Course, target: Target) -> None:
        await self._at(course, "before-intent")
        after = course.tried(self.operation, state=course.started)
        async with self._fenced(course) as tx:
            await entries.intent(tx, after, course, self._step(course), target)
        self.operation = after

    async def _call(self, step: RemoteStep, course: Course, target: Target) -> Output | Later:
        act = step.ensure if course.action is Action.ENSURE else step.absent
        try:
            async with asyncio.timeout(self.lease.budget_s(self.crew.timing)):
                return await act(target)
        except TimeoutError as error:
            raise Transient("There was no answer in time.") from error

    async def _record(
        self,
        tx: AsyncConnection,
        tried: Operation,
        course: Course,
        target: Target,
        output: Output | Later,
    ) -> Operation:
        step = self._step(course)
        if isinstance(output, Later):
            after, late = course.waiting(tried, output), self._late(course)
            await entries.waiting(tx, after, course, step, target=target, later=output, late=late)
            await self.crew.failpoint(course.place("before-wait-commit"))
        else:
            after = tried.with_step(course.ordinal, state=course.done, output=output)
            await entries.done(tx, after, course, step, target)
            await self._at(course, "before-commit")
        return after

    async def _go_on(self, after: Operation, course: Course, output: Output | Later) -> None:
        self.operation = after
        if isinstance(output, Later):
            await self.crew.failpoint(course.place("after-wait-commit"))
            raise Released(output.after_s if output.queued else None)
        await self._at(course, "after-commit")

    # -- what follows a failure ------------------------------------------------------------------

    async def _failed(self, course: Course, error: StepError) -> None:
        intended = self.operation.steps[course.ordinal].state is course.started
        if course.planned.reach is Reach.LOCAL or not intended:
            # A local step has written nothing yet, its rolled back try included.
            self.operation = course.tried(self.operation)
        decide = moves.after_failure if course.is_forward else moves.after_failed_undo
        verdict = decide(
            self.operation,
            course.ordinal,
            permanent=not isinstance(error, Transient),
            retry_after_s=error.retry_after_s if isinstance(error, Transient) else None,
        )
        told = self._tell(course, error)
        log.info("step_failed", operation=str(self.operation.id), **told, verdict=str(verdict))
        match verdict:
            case Retry(after_s):
                await self._retry(course, told, after_s)
            case Unwind():
                await self._unwind(replace(verdict, code=error.code, detail=str(error)), course)
            case Park():
                await self._park(course, told)
            case _:
                assert_never(verdict)

    def _tell(self, course: Course, error: StepError) -> dict[str, Any]:
        retriable = isinstance(error, Transient)
        told = {"code": error.code, "detail": str(error), "step": course.planned.name}
        return {**told, "retriable": retriable}

    def _late(self, course: Course) -> dict[str, Any] | None:
        """What to show of a step that outlasts its deadline where it must be tried all the same."""
        step = self.operation.steps[course.ordinal]
        if not (course.is_forward and step.overdue and self.operation.pivot_done):
            return None
        late = moves.step_overdue(step)
        log.warning("step_overdue", operation=str(self.operation.id), step=step.name)
        return {"code": late.code, "detail": late.detail, "step": step.name, "retriable": True}

    async def _retry(self, course: Course, told: dict[str, Any], after_s: float) -> None:
        if self._late(course):
            told = {**told, "overdue": True}
        async with self._fenced(course, reconsider=False) as tx:
            event = f"{course.event}_failed"
            await journal.record(tx, self.operation, course.ordinal, event=event, error=told)
            wait = after_s * self.crew.timing.wait_factor
            await journal.release(tx, self.operation, after_s=wait, ordinal=course.ordinal)
        raise Released

    async def _unwind(self, unwind: Unwind, course: Course | None) -> None:
        """Turn round; with the course whose failure it is, where it is one."""
        told: dict[str, Any] = {"code": unwind.code, "detail": unwind.detail}
        if unwind.step is not None:
            told["step"] = unwind.step
        after = replace(self.operation, state=OperationState.UNWINDING, error=told)
        await self._at_operation("before-unwind")
        async with self._transaction() as tx:
            await journal.fence(tx, self.operation, exclusive=True)
            if course is not None:
                await journal.record(tx, after, course.ordinal, event="step_failed", error=told)
            await journal.turn(tx, after)
        self.operation = after
        await self._at_operation("after-unwind")

    async def _park(self, course: Course, told: dict[str, Any]) -> None:
        after = replace(
            self.operation,
            state=OperationState.PARKED,
            error={**(self.operation.error or {}), "parked": told},
        )
        async with self._transaction() as tx:
            await journal.fence(tx, self.operation, exclusive=True)
            await journal.record(
                tx, after, course.ordinal, event=f"{course.event}_failed", error=told
            )
            await journal.turn(tx, after, leave=True)
        self.operation = after
        log.error("operation_parked", operation=str(self.operation.id), **told)

    async def _finish(self, state: OperationState) -> None:
        after = replace(self.operation, state=state)
        await self._at_operation("before-finish")
        async with self._transaction() as tx:
            await journal.fence(tx, self.operation, exclusive=True)
            if state is not OperationState.SUCCEEDED:
                await give_back(
                    tx,
                    after.tenant_id,
                    after.plan,
                    after.params,
                    lasting=self.crew.timing.undone_for,
                )
            await journal.turn(tx, after, finished=True)
            await audit.operation_ended(tx, after)
            await self._at_operation("before-finish-commit")
        self.operation = after
        await self._at_operation("after-finish")
        log.info("operation_ended", operation=str(after.id), kind=after.plan.kind, state=str(state))

    # -- small things ----------------------------------------------------------------------------

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        async with self._conn.begin():
            yield self._conn

    @asynccontextmanager
    async def _fenced(
        self, course: Course, *, reconsider: bool = True
    ) -> AsyncIterator[AsyncConnection]:
        """A transaction whose first statement proves that the operation is still ours."""
        forward = course.is_forward and not self.operation.pivot_done
        exclusive, ordinal = course.planned.pivot, course.ordinal
        async with self._transaction() as tx:
            notice = await journal.fence(tx, self.operation, exclusive=exclusive, ordinal=ordinal)
            if reconsider and forward and notice.turns:
                self.operation = notice.taken(self.operation, ordinal)
                raise Reconsider
            yield tx

    def _step(self, course: Course) -> LocalStep | RemoteStep:
        return self.crew.steps[course.planned.name]

    def _target(self, course: Course) -> Target:
        operation = self.operation
        mark = Mark(self.crew.installation, operation.tenant_id, operation.id)
        return Target(self._tenant, mark, operation.params, operation.steps[course.ordinal].output)

    async def _at(self, course: Course, place: str) -> None:
        await self.crew.failpoint(course.place(place))

    async def _at_operation(self, place: str) -> None:
        await self.crew.failpoint(f"operation:{self.operation.plan.kind}:{place}")
