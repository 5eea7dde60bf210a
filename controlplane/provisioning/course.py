"""One step of an operation in one direction: the states, events and failpoints it goes through."""

from dataclasses import dataclass
from typing import Any

from controlplane.domain.operations import Action, Operation, PlanStep, Reach, StepState
from controlplane.provisioning.step import Later

# Where a drive comes by in a step that is done at once, in order, and where it waits instead of
# what follows the effect or the call. A failpoint is named `<step or undo>:<step's name>:<place>`.
PLACES = {
    Reach.LOCAL: ("before-begin", "after-fence", "after-effect", "before-commit", "after-commit"),
    Reach.REMOTE: ("before-intent", "before-call", "after-call", "before-commit", "after-commit"),
}
# In a step's output, until it is done: how many seconds it was told to queue.
QUEUED = "queued_s"
WAITS = ("before-wait-commit", "after-wait-commit")


@dataclass(frozen=True)
class Course:
    """`event` begins the names of its events: 'step' forward, 'undo' back."""

    ordinal: int
    planned: PlanStep
    action: Action
    started: StepState
    done: StepState
    event: str

    @classmethod
    def forward(cls, operation: Operation, ordinal: int) -> "Course":
        step = operation.plan.steps[ordinal]
        return cls(ordinal, step, step.action, StepState.STARTED, StepState.DONE, "step")

    @classmethod
    def back(cls, operation: Operation, ordinal: int) -> "Course":
        step = operation.plan.steps[ordinal]
        undo = step.action.undo
        return cls(ordinal, step, undo, StepState.UNDO_STARTED, StepState.UNDONE, "undo")

    @property
    def is_forward(self) -> bool:
        return self.event == "step"

    @property
    def _counter(self) -> str:
        return "attempt" if self.is_forward else "undo_attempt"

    def tried(self, operation: Operation, **changes: Any) -> Operation:
        """The operation with one more attempt at this course."""
        counted = getattr(operation.steps[self.ordinal], self._counter) + 1
        return operation.with_step(self.ordinal, **{self._counter: counted}, **changes)

    def waiting(self, operation: Operation, later: Later) -> Operation:
        """The operation after a call that has to be made again. Waiting is no failure: it must not
        lengthen the back-off of one that may follow, nor use up what an undo may be tried."""
        queued_s = (operation.steps[self.ordinal].output or {}).get(QUEUED, 0.0)
        queued_s += later.after_s if later.queued else 0.0
        output = {**(later.output or {}), QUEUED: queued_s} if queued_s else later.output
        changes: dict[str, Any] = {self._counter: 0, "output": output, "state": self.started}
        return operation.with_step(self.ordinal, **changes)

    def place(self, name: str) -> str:
        """The failpoint of that name."""
        return f"{self.event}:{self.planned.name}:{name}"
